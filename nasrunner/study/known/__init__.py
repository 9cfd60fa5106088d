"""What a study knows before its first proposal: architectures a person gave, earlier outcomes."""
