"""What slides over images and signals: windows, pools, and convolutions over time."""
