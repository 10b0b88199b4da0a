//! csi-operator: installs and keeps the vSphere container storage plug-in.
//!
//! Start with [`plan`] (one pass, decided), then [`inputs`] (the spec and what was found, checked), [`render`]
//! (checked values to a revision) and [`stages`] (how much of it may be applied now, and whether it works).
//! [`observe`] and [`pass`] are the shell around them; how both driver operators go about a pass is in
//! `vdo-runtime::driver`. [`releases`] is the table of what differs between driver
//! releases, [`gcfg`] the format of the driver's configuration.
//!
//! **Invariant:** but for the shell everything is pure: no client, no clock, no environment. `render` is total and gives the
//! same bytes for the same inputs. Nothing here names, owns or deletes a CRD of `cns.vmware.com`: the driver does.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod args;
pub mod gcfg;
pub mod inputs;
pub mod judge;
pub mod observe;
pub mod pass;
pub mod plan;
pub mod reasons;
pub mod releases;
pub mod render;
pub mod stages;
