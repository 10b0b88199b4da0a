//! vdo-runtime
