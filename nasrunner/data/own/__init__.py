"""A user's own files as data sets, without a class: arrays, tables and folders of images."""
