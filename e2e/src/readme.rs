//! The README's own YAML: what a newcomer pastes is what the demo applies.

use anyhow::{Context, Result};
use testbed::vcenter::VCenter;

/// The fenced block after the line `<!-- demo: NAME -->`.
pub fn block(readme: &str, name: &str) -> Result<String> {
    let marker = format!("<!-- demo: {name} -->");
    let after = readme.split_once(&marker).with_context(|| format!("the README has no block {name}"))?.1;
    let fenced = after.split_once("```yaml\n").with_context(|| format!("{marker} is followed by no yaml"))?.1;
    let (text, _) = fenced.split_once("\n```").with_context(|| format!("the block {name} does not end"))?;
    Ok(format!("{text}\n"))
}

/// The same with the bed's own vCenter, as a reader fills it in. The simulator's certificate is signed by an authority of
/// its own, as in most datacenters.
pub fn filled(readme: &str, name: &str, vcenter: &VCenter) -> Result<String> {
    let text = block(readme, name)?
        .replace("vcenter.example.com", &vcenter.address)
        .replace("administrator@vsphere.local", &vcenter.user)
        .replace("CHANGE-ME", &vcenter.password()?)
        .replace("# caRef:", "caRef:")
        .replace("#   name: vcenter-ca", "  name: vcenter-ca");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marked_block_is_found_and_a_missing_one_is_an_error() {
        let text = "a\n<!-- demo: secret -->\n```yaml\nkind: Secret\nb: c\n```\nrest";
        assert_eq!(block(text, "secret").unwrap(), "kind: Secret\nb: c\n");
        assert!(block(text, "matrix").is_err());
    }
}
