//! By which name this program was called: its own, or as a plug-in of kubectl. Pure.

use std::ffi::OsStr;
use std::path::Path;

/// How it was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// By its own name.
    Vdoctl,
    /// As `kubectl vdo`, for which kubectl runs a program called `kubectl-vdo`.
    Plugin,
    /// As what kubectl runs when somebody presses TAB after `kubectl vdo`.
    Completion,
}

impl Called {
    /// Decides by the name of the program, which is that of a link to it.
    pub fn by(program: Option<&OsStr>) -> Called {
        match program.map(Path::new).and_then(Path::file_stem).and_then(OsStr::to_str) {
            Some("kubectl-vdo") => Called::Plugin,
            Some("kubectl_complete-vdo") => Called::Completion,
            Some(_) | None => Called::Vdoctl,
        }
    }

    /// What a person types.
    pub fn name(self) -> &'static str {
        match self {
            Called::Vdoctl => "vdoctl",
            Called::Plugin | Called::Completion => "kubectl vdo",
        }
    }

    /// A text in which the commands to copy are those that a person types.
    pub fn spoken(self, text: &str) -> String {
        text.replace("`vdoctl ", &format!("`{} ", self.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_link_decides() {
        let by = |name: &str| Called::by(Some(OsStr::new(name)));
        assert_eq!(by("/usr/local/bin/kubectl-vdo"), Called::Plugin);
        assert_eq!(by("kubectl-vdo.exe"), Called::Plugin);
        assert_eq!(by("kubectl_complete-vdo"), Called::Completion);
        assert_eq!(by("./target/debug/vdoctl"), Called::Vdoctl);
        assert_eq!(by("my-kubectl-vdo"), Called::Vdoctl);
        assert_eq!(Called::by(None), Called::Vdoctl);
    }

    #[test]
    fn commands_to_copy_are_the_ones_that_are_typed() {
        let text = "see `vdoctl nodes`, and vdoctl in docs/vdoctl.md";
        assert_eq!(Called::Plugin.spoken(text), "see `kubectl vdo nodes`, and vdoctl in docs/vdoctl.md");
        assert_eq!(Called::Vdoctl.spoken(text), text);
    }
}
