//! Links between the documents of a new plugin, which have other places in the repository.

use std::collections::BTreeSet;

use super::kit::File;

/// The documents of the repository that a plugin may have a copy of in its folder `docs`, and the name there.
const COPIES: [(&str, &str); 3] = [
    ("docs/writing-a-plugin.md", "writing-a-plugin.md"),
    ("sdk/javascript/README.md", "javascript.md"),
    ("sdk/python/README.md", "python.md"),
];

/// The files, with each relative link of a copied document leading to the plugin's copy, or else to the repository.
pub(super) fn resolved(mut files: Vec<File>) -> Vec<File> {
    let paths: BTreeSet<_> = files.iter().map(|file| file.path.clone()).collect();
    for file in &mut files {
        let Some((origin, _)) = COPIES.iter().find(|(_, copy)| file.path == format!("docs/{copy}")) else { continue };
        file.text = rewritten(&file.text, |link| {
            let (target, anchor) = link.split_at(link.find('#').unwrap_or(link.len()));
            let target = joined(origin, target);
            let copy = COPIES.iter().find(|(origin, _)| *origin == target).map(|(_, copy)| *copy);
            match copy.filter(|copy| paths.contains(&format!("docs/{copy}"))) {
                Some(copy) => format!("{copy}{anchor}"),
                None => format!("{}/blob/main/{target}{anchor}", env!("CARGO_PKG_REPOSITORY")),
            }
        });
    }
    files
}

/// The text with each relative link replaced.
fn rewritten(text: &str, replace: impl Fn(&str) -> String) -> String {
    let mut parts = text.split("](");
    let mut written = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (link, rest) = part.split_at(part.find(')').unwrap_or(0));
        let replaced = if is_relative(link) { replace(link) } else { link.to_owned() };
        written.push_str(&format!("]({replaced}{rest}"));
    }
    written
}

fn is_relative(link: &str) -> bool {
    !link.is_empty() && !link.starts_with('#') && !link.contains(':')
}

/// The path that `link` in the document `origin` means.
fn joined(origin: &str, link: &str) -> String {
    let mut path: Vec<&str> = origin.split('/').collect();
    path.pop();
    for step in link.split('/') {
        match step {
            ".." => drop(path.pop()),
            "." => {}
            step => path.push(step),
        }
    }
    path.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_the_copy_or_to_the_repository() {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let text =
            "a [P](../sdk/python/README.md#x), [C](../sdk/c/README.md), [here](#y), [web](https://a.example/b) b";
        let files = resolved(vec![file("docs/python.md", ""), file("docs/writing-a-plugin.md", text)]);
        let repository = env!("CARGO_PKG_REPOSITORY");
        let expected = format!(
            "a [P](python.md#x), [C]({repository}/blob/main/sdk/c/README.md), [here](#y), [web](https://a.example/b) b"
        );
        assert_eq!(files[1].text, expected);
    }
}
