//! Detectors, one file each.
