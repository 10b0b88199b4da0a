//! The test bed: a real control plane, simulated vCenters and nodes, and the real drivers, in namespaces of their own.
//!
//! One bed is one network, mount, process and host-name namespace. Nothing outside can reach it, every address in it
//! is fixed, any number of beds run side by side, and when its first process ends the kernel ends the rest.
//!
//! Start reading at [`enter`] (into the namespaces), then [`inside`] (what is started, in which order). Tests use
//! [`bed::Bed`], [`wait::eventually`] and [`audit::AuditLog`]; they run inside a bed: `testbed run -- TEST-BINARY`.
//!
//! **Invariant:** there is no clean-up code. Whatever a bed makes is a process, a mount or an address of its own
//! namespaces, or a file in a folder that the caller named.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod addresses;
pub mod audit;
pub mod bed;
pub mod cache;
pub mod control_plane;
pub mod csinode;
pub mod enter;
pub mod faultproxy;
pub mod images;
pub mod inside;
pub mod net;
pub mod nodes;
pub mod pki;
pub mod podrunner;
pub mod process;
pub mod relay;
pub mod spec;
pub mod tools;
pub mod vcenter;
pub mod wait;
