//! vdoctl
