"""What ``tandem new env NAME`` writes: files that work as they are, in which ``lantern_field`` stands for the name."""
