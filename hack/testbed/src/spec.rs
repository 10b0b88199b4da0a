//! What bed is wanted.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::addresses::{MOST_MACHINES, MOST_VCENTERS};
use crate::tools;

/// How much of a cluster a bed has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum Profile {
    /// etcd and API server only.
    Api,
    /// Controllers, scheduler, nodes, vCenters, DNS and the pod runner too.
    Full,
}

/// Which Kubernetes the control plane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum Kubernetes {
    /// The newest that the operators are made for.
    Newest,
    /// The oldest minor that the operators run on.
    Oldest,
}

impl Kubernetes {
    /// Its release, as it says itself.
    pub fn release(self) -> &'static str {
        match self {
            Kubernetes::Newest => tools::KUBERNETES,
            Kubernetes::Oldest => tools::OLDEST_KUBERNETES,
        }
    }
}

/// What bed is wanted.
#[derive(Debug, Clone, Serialize, Deserialize, Args)]
pub struct BedSpec {
    /// How much of a cluster the bed has.
    #[arg(long, value_enum, default_value = "full")]
    pub profile: Profile,
    /// Which Kubernetes the control plane is.
    #[arg(long, value_enum, default_value = "newest")]
    pub kubernetes: Kubernetes,
    /// Nodes, each a virtual machine of one of the vCenters.
    #[arg(long, default_value_t = 3)]
    pub nodes: usize,
    /// How many of them are control-plane nodes, whose pods really run.
    #[arg(long, default_value_t = 3)]
    pub control_plane: usize,
    /// vCenters; nodes are dealt out to them in turn.
    #[arg(long, default_value_t = 1)]
    pub vcenters: usize,
    /// The vCenters' version.
    #[arg(long, default_value = "8.0.3")]
    pub vsphere: String,
    /// The vCenters' datacenters, comma separated.
    #[arg(long, default_value = "DC0")]
    pub datacenters: String,
    /// The password of the vCenters' first user.
    #[arg(long, default_value = "Testbed-Pass-1!")]
    pub password: String,
    /// A JSON file with rows for the image table, besides those of the drivers.
    #[arg(long, value_name = "FILE")]
    pub images: Option<PathBuf>,
    /// Where logs, certificates and data go. Without it they vanish with the bed.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

impl BedSpec {
    /// The tools that such a bed needs. What comes later takes the place of a program of the same name.
    pub fn tools(&self) -> Vec<&'static str> {
        let mut names = match self.profile {
            Profile::Api => vec!["etcd", "kubernetes", "helm"],
            Profile::Full => tools::usual(),
        };
        if self.kubernetes == Kubernetes::Oldest {
            names.push(tools::OLDEST);
        }
        names
    }

    /// Refuses what the address plan or the programs cannot do, and makes paths independent of the current folder.
    pub fn checked(mut self) -> Result<BedSpec> {
        if !(1..=MOST_VCENTERS).contains(&self.vcenters) {
            bail!("a bed has 1 to {MOST_VCENTERS} vCenters, not {}", self.vcenters);
        }
        if self.nodes.div_ceil(self.vcenters) > MOST_MACHINES {
            bail!("a vCenter has at most {MOST_MACHINES} machines");
        }
        if self.control_plane > self.nodes {
            self.control_plane = self.nodes;
        }
        self.dir = self.dir.map(std::path::absolute).transpose()?;
        self.images = self.images.map(std::path::absolute).transpose()?;
        if let Some(dir) = self.dir.as_ref().filter(|dir| dir.starts_with("/run")) {
            bail!("{} is below /run, which is empty in a bed: choose another --dir", dir.display());
        }
        Ok(self)
    }

    /// How many vCenters there are in the end.
    pub fn vcenters_in_it(&self) -> usize {
        match self.profile {
            Profile::Api => 0,
            Profile::Full => self.vcenters,
        }
    }

    /// How many machines the vCenter with this number has.
    pub fn machines(&self, number: usize) -> usize {
        (self.nodes + self.vcenters - number) / self.vcenters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(nodes: usize, vcenters: usize) -> BedSpec {
        BedSpec {
            profile: Profile::Full,
            kubernetes: Kubernetes::Newest,
            nodes,
            control_plane: 3,
            vcenters,
            vsphere: String::new(),
            datacenters: String::new(),
            password: String::new(),
            images: None,
            dir: None,
        }
    }

    #[test]
    fn machines_are_dealt_out_in_turn() {
        let spec = spec(10, 3);

        assert_eq!([spec.machines(1), spec.machines(2), spec.machines(3)], [4, 3, 3]);
    }

    #[test]
    fn a_small_bed_has_control_plane_nodes_only() {
        assert_eq!(spec(1, 1).checked().unwrap().control_plane, 1);
    }

    #[test]
    fn the_programs_of_the_oldest_kubernetes_take_the_place_of_the_newest() {
        let oldest = BedSpec { kubernetes: Kubernetes::Oldest, ..spec(3, 1) };

        assert_eq!(oldest.tools().last(), Some(&tools::OLDEST));
        assert!(oldest.tools().contains(&"kubernetes"), "for kubectl");
        assert!(!spec(3, 1).tools().contains(&tools::OLDEST));
    }

    #[test]
    fn a_folder_that_the_bed_hides_is_refused() {
        let refused = BedSpec { dir: Some(PathBuf::from("/run/bed")), ..spec(1, 1) }.checked();

        assert!(refused.unwrap_err().to_string().contains("below /run"));
    }
}
