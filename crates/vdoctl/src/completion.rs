//! What a shell offers when somebody presses TAB. Pure.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

use crate::args::{Args, Shell};
use crate::called::Called;

/// The last line of an answer to kubectl: offer this, and no file names.
const NO_FILES: &str = ":4";
/// The same where a file is wanted.
const FILES: &str = ":0";

/// The script for a shell.
pub fn script(shell: Shell) -> String {
    use clap_complete::aot::Shell as Known;
    let shell = match shell {
        Shell::Bash => Known::Bash,
        Shell::Zsh => Known::Zsh,
        Shell::Fish => Known::Fish,
    };
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Args::line(Called::Vdoctl), Called::Vdoctl.name(), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// What kubectl is told to offer for `kubectl vdo WORDS`, the last of which is being typed: a line for each word, with
/// what it means after a tab, and a line that says whether file names are offered, too.
pub fn offered(words: &[OsString]) -> String {
    let mut line = Args::line(Called::Plugin);
    line.build();
    let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    let (typed, before) = words.split_last().map_or(("", &[][..]), |(last, before)| (*last, before));
    let place = Typing::after(&line, before);
    let (mut offers, mut ends) = (Vec::new(), NO_FILES);
    if let Some(option) = place.open {
        offers = values(option);
        if wants_file(option) {
            ends = FILES;
        }
    } else if typed.starts_with('-') {
        let options = place.command.get_arguments().filter(|it| !it.is_hide_set());
        offers.extend(options.filter_map(|it| Some((format!("--{}", it.get_long()?), help(it)))));
    } else {
        let commands = place.command.get_subcommands().filter(|it| !it.is_hide_set());
        offers.extend(commands.map(|it| (it.get_name().to_owned(), about(it))));
        offers.extend(place.command.get_positionals().nth(place.given).map(values).unwrap_or_default());
    }
    let mut out = String::new();
    for (word, meaning) in offers.iter().filter(|(word, _)| word.starts_with(typed)) {
        out.push_str(&format!("{word}\t{meaning}\n"));
    }
    out.push_str(ends);
    out.push('\n');
    out
}

/// Where in the command line somebody types.
struct Typing<'a> {
    command: &'a Command,
    /// An option whose value comes next.
    open: Option<&'a Arg>,
    /// How many words without a dash the command was given.
    given: usize,
}

impl<'a> Typing<'a> {
    fn after(line: &'a Command, words: &[&str]) -> Typing<'a> {
        let mut place = Typing { command: line, open: None, given: 0 };
        for word in words {
            if place.open.take().is_some() {
                continue;
            }
            match (word.strip_prefix('-'), place.command.find_subcommand(word)) {
                (Some(_), _) => place.open = option(place.command, word),
                (None, Some(command)) => place = Typing { command, open: None, given: 0 },
                (None, None) => place.given += 1,
            }
        }
        place
    }
}

/// The option of this word, if its value is the next one.
fn option<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|it| {
        let long = it.get_long().is_some_and(|long| word == format!("--{long}"));
        let short = it.get_short().is_some_and(|short| word == format!("-{short}"));
        (long || short) && matches!(it.get_action(), ArgAction::Set | ArgAction::Append)
    })
}

fn values(option: &Arg) -> Vec<(String, String)> {
    let values = option.get_possible_values();
    let meaning = |help: Option<&clap::builder::StyledStr>| help.map(first_line).unwrap_or_default();
    values.iter().map(|it| (it.get_name().to_owned(), meaning(it.get_help()))).collect()
}

fn wants_file(option: &Arg) -> bool {
    option
        .get_value_names()
        .is_some_and(|names| names.iter().any(|name| name.split('|').any(|kind| kind == "FILE")))
}

fn help(option: &Arg) -> String {
    option.get_help().map(first_line).unwrap_or_default()
}

fn about(command: &Command) -> String {
    command.get_about().map(first_line).unwrap_or_default()
}

fn first_line(text: &clap::builder::StyledStr) -> String {
    text.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(typed: &[&str]) -> (Vec<String>, String) {
        let text = offered(&typed.iter().map(OsString::from).collect::<Vec<_>>());
        let mut lines: Vec<String> =
            text.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect();
        let ends = lines.pop().unwrap();
        (lines, ends)
    }

    #[test]
    fn kubectl_is_offered_commands_options_and_values() {
        let (offers, ends) = words(&[""]);
        assert!(
            offers.iter().any(|it| it == "status") && offers.iter().any(|it| it == "nodes"),
            "{offers:?}"
        );
        assert_eq!(ends, ":4");
        assert_eq!(words(&["st"]).0, ["status"]);
        assert_eq!(words(&["-n", "status", "no"]).0, ["nodes"], "a namespace is no command");
        assert_eq!(words(&["status", "--wa"]).0, ["--watch"]);
        assert_eq!(words(&["status", "--conte"]).0, ["--context"]);
        assert_eq!(words(&["nodes", "-o", ""]).0, ["wide", "json", "yaml"]);
        assert_eq!(words(&["status", "--color", "a"]).0, ["auto", "always"]);
        assert_eq!(words(&["render", "c"]).0, ["cpi", "csi"]);
        assert_eq!(words(&["render", "cpi", ""]).0, Vec::<String>::new());
        assert_eq!(words(&["--kubeconfig", ""]), (Vec::new(), ":0".to_owned()));
    }

    #[test]
    fn each_offer_says_what_it_means() {
        let text = offered(&["version".into()]);
        assert_eq!(
            text,
            "version\tPrints the versions of this program, of the operators, of the cluster and of the drivers\n:4\n"
        );
    }

    #[test]
    fn every_shell_gets_a_script_that_knows_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            for command in Args::line(Called::Vdoctl).get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell:?}: {}", command.get_name());
            }
            assert!(script.contains("kubeconfig"), "{shell:?}");
        }
    }
}
