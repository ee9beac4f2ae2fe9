//! axe-core, run in the page that a browser shows.

use std::fs;

use serde_json::{Value, json};

use crate::{driver::Browser, npm};

/// What a page does wrong to people who see little, hear it read, or use no mouse: `(serious, lesser)`, a line each.
pub fn violations(browser: &Browser) -> (Vec<String>, Vec<String>) {
    let source = fs::read_to_string(npm::installed().join("node_modules/axe-core/axe.min.js")).expect("axe-core");
    browser.run(&source, &json!([]));
    let found = browser.run_async(
        "const done = arguments[arguments.length - 1];
         axe.run(document, { resultTypes: ['violations'] }).then(r => done(r.violations), e => done(String(e)))",
        &json!([]),
    );
    let found = found.as_array().unwrap_or_else(|| panic!("axe ended with {found}"));
    assert_ne!(browser.run("return axe.getRules().length", &json!([])), json!(0));
    let line = |v: &Value| {
        let nodes: Vec<_> = v["nodes"].as_array().into_iter().flatten().map(|n| n["html"].to_string()).collect();
        format!("{} {}: {}: {}", v["impact"], v["id"], v["help"], nodes.join(" | "))
    };
    let serious = |v: &&Value| matches!(v["impact"].as_str(), Some("serious" | "critical"));
    let (grave, lesser): (Vec<_>, Vec<_>) = found.iter().partition(serious);
    (grave.into_iter().map(line).collect(), lesser.into_iter().map(line).collect())
}
