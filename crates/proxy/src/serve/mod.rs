//! See the module's own description.
