//! What stands in the pages to be run: fenced blocks after a marker.

use std::fs;

use anyhow::Result;
use e2e::checkout;

/// The README and the pages of `docs/`, each with its name.
pub fn all() -> Vec<(String, String)> {
    let mut names = vec!["README.md".to_owned()];
    for entry in fs::read_dir(checkout("docs")).unwrap() {
        let name = entry.unwrap().file_name().to_str().unwrap().to_owned();
        if name.ends_with(".md") {
            names.push(format!("docs/{name}"));
        }
    }
    names.sort();
    names.into_iter().map(|name| (name.clone(), fs::read_to_string(checkout(&name)).unwrap())).collect()
}

/// The names of all blocks that are to be run.
pub fn runs(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("<!-- run: ")?.strip_suffix(" -->"));
    lines.map(str::to_owned).collect()
}

/// The commands of the block after `<!-- run: NAME -->`: each line that begins with a prompt is one. In a list the block is
/// indented.
pub fn commands(text: &str, name: &str) -> Result<Vec<String>> {
    let marker = format!("<!-- run: {name} -->");
    let mut lines = text.lines().map(str::trim).skip_while(|line| *line != marker).skip(1);
    anyhow::ensure!(lines.next() == Some("```console"), "no console block {name}");
    let block: Vec<&str> = lines.take_while(|line| *line != "```").collect();
    let commands: Vec<String> =
        block.iter().filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect();
    anyhow::ensure!(!commands.is_empty() && commands.len() == block.len(), "{name}: {block:?}");
    Ok(commands)
}

/// The YAML of all blocks that a server shall accept without storing them.
pub fn examples(text: &str) -> Vec<String> {
    let after = text.split("<!-- dry-run -->\n```yaml\n").skip(1);
    after.map(|after| after.split_once("\n```").unwrap().0.to_owned()).collect()
}
