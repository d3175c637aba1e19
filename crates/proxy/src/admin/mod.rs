//! The operator's own way in.
