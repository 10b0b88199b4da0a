//! Every block of commands in the README and in `docs/` is run by a test, or says why not.
//!
//! `<!-- run: NAME -->` before a block: `e2e/tests/docs.rs` types it in a bed, and fails when it left one out.
//! `<!-- offline: NAME -->`: a test of vdoctl does. `<!-- not run: why -->`: nobody does.

use std::fs;

use crate::links::pages;

const SHELLS: [&str; 4] = ["sh", "bash", "shell", "console"];
const PROGRAMS: [&str; 4] = ["kubectl", "vdoctl", "helm", "make"];
const MARKERS: [&str; 3] = ["run", "offline", "not run"];

/// What stands before a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Run,
    Offline,
    Excused,
    None,
}

fn mark(line: &str) -> Mark {
    let inside = line.trim().strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
    let Some((kind, said)) = inside.and_then(|inside| inside.split_once(": ")) else { return Mark::None };
    match MARKERS.iter().position(|marker| *marker == kind && !said.trim().is_empty()) {
        Some(0) => Mark::Run,
        Some(1) => Mark::Offline,
        Some(_) => Mark::Excused,
        None => Mark::None,
    }
}

/// Whether an indented line is a command of an admin, behind variables that are set for it.
fn is_command(line: &str) -> bool {
    let mut words = line.split_whitespace().skip_while(|word| word.contains('='));
    line.starts_with("    ") && words.next().is_some_and(|word| PROGRAMS.contains(&word))
}

/// The number of the first line of each block of commands, with what stands before the block.
fn blocks(text: &str) -> Vec<(usize, Mark)> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    // The last line with something in it, and whether the line before this one had nothing, or was a comment.
    let (mut before, mut apart) = ("", true);
    while let Some((number, line)) = lines.next() {
        if let Some(kind) = line.trim_start().strip_prefix("```") {
            if SHELLS.contains(&kind) {
                found.push((number + 1, mark(before)));
            }
            lines.by_ref().find(|(_, line)| line.trim() == "```");
            (before, apart) = ("", false);
            continue;
        }
        if apart && line.starts_with("    ") {
            let mut is_commands = is_command(line);
            while let Some((_, next)) = lines.next_if(|(_, next)| next.starts_with("    ")) {
                is_commands |= is_command(next);
            }
            if is_commands {
                found.push((number + 1, mark(before)));
            }
            (before, apart) = ("", false);
            continue;
        }
        apart = line.trim().is_empty() || line.trim().starts_with("<!--");
        if !line.trim().is_empty() {
            before = line;
        }
    }
    found
}

#[test]
fn every_block_of_commands_in_the_pages_is_run_or_says_why_not() {
    let mut unmarked = Vec::new();
    let mut run = 0;
    for page in pages() {
        for (line, mark) in blocks(&fs::read_to_string(&page).unwrap()) {
            match mark {
                Mark::Run | Mark::Offline => run += 1,
                Mark::Excused => {}
                Mark::None => unmarked.push(format!("{}:{line}", page.display())),
            }
        }
    }
    assert_eq!(unmarked, Vec::<String>::new());
    assert!(run > 35, "{run}");
}

#[test]
fn a_block_without_a_mark_or_a_reason_is_found() {
    let text = "a\n\n```sh\nls\n```\n\n<!-- run: x -->\n```console\n$ ls\n```\n<!-- not run: -->\n```sh\nls\n```\n\n    A=1 make x\n    \
                ls\n\n<!-- not run: y -->\n\n    kubectl z\nb\n    vdoctl is a word\n\n- c\n\n  <!-- offline: d -->\n  ```console\n  $ ls\n  \
                ```\n\n```yaml\n    make: 1\n```\n\n    cargo x\n";
    let marks: Vec<Mark> = blocks(text).into_iter().map(|(_, mark)| mark).collect();
    assert_eq!(marks, [Mark::None, Mark::Run, Mark::None, Mark::None, Mark::Excused, Mark::Offline]);
    assert_eq!(blocks(text)[0].0, 3);
}
