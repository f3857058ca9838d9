//! Bindings generated from the `wit/` of a plugin's folder, so that building a plugin needs a compiler and nothing else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, ensure};
use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};

/// The world that [`contract`](super::kit::contract) writes.
const WORLD: &str = "plugin";

/// Writes the generated files, and those that `more` makes of them, into `bindings/` of the plugin's `folder`, and removes what an
/// earlier world left there. A file with the same content is not touched, so compilers reuse what they have compiled.
pub(super) fn write(
    folder: &Path,
    mut generator: Box<dyn WorldGenerator>,
    more: impl Fn(&Files) -> Vec<(String, String)>,
) -> anyhow::Result<PathBuf> {
    let wit = folder.join("wit");
    ensure!(
        wit.is_dir(),
        "{} does not exist: it has the plugin's world, and the packages that it refers to in deps/; \
         `reflow-tracing plugin new` creates one to copy",
        wit.display()
    );
    let mut resolve = Resolve::default();
    let pushed = resolve.push_path(&wit);
    // With the line that is wrong.
    let failed = |error| anyhow!("can't read {}: {}", wit.display(), resolve.render_error(&error));
    let (package, _) = pushed.map_err(failed)?;
    let world = resolve.select_world(&[package], Some(WORLD)).with_context(|| format!("in {}", wit.display()))?;
    let mut files = Files::default();
    generator.generate(&mut resolve, world, &mut files).context("can't generate bindings")?;

    let bindings = folder.join("bindings");
    let more = more(&files);
    let wanted = files.iter().chain(more.iter().map(|(name, text)| (name.as_str(), text.as_bytes())));
    let wanted: Vec<(PathBuf, &[u8])> = wanted.map(|(name, content)| (bindings.join(name), content)).collect();
    let written = || {
        for (file, content) in &wanted {
            if !fs::read(file).is_ok_and(|present| present == *content) {
                fs::create_dir_all(file.parent().unwrap_or(&bindings))?;
                fs::write(file, content)?;
            }
        }
        remove_others(&bindings, &|file| wanted.iter().any(|(other, _)| other == file))
    };
    written().with_context(|| format!("can't write {}", bindings.display()))?;
    Ok(bindings)
}

fn remove_others(folder: &Path, is_wanted: &dyn Fn(&Path) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_others(&entry.path(), is_wanted)?;
        } else if !is_wanted(&entry.path()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::kit::{File, contract};
    use super::*;

    fn folder_with(capabilities: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        write_contract(folder.path(), capabilities);
        folder
    }

    fn write_contract(folder: &Path, capabilities: &[&str]) {
        for File { path, text } in contract(capabilities) {
            let file = folder.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
    }

    fn generator() -> Box<dyn WorldGenerator> {
        wit_bindgen_go::Opts { pkg_name: Some("b".into()), ..Default::default() }.build()
    }

    fn module() -> Vec<(String, String)> {
        vec![("go.mod".into(), "module b\n".into())]
    }

    #[test]
    fn the_bindings_are_those_of_the_world_in_the_folder() {
        let folder = folder_with(&["keyvalue"]);
        let bindings = write(folder.path(), generator(), |_| module()).unwrap();
        assert!(bindings.join("reflow_capabilities_keyvalue/wit_bindings.go").is_file());
        assert!(bindings.join("go.mod").is_file() && !bindings.join("reflow_capabilities_sql").exists());

        let modified = || fs::metadata(bindings.join("go.mod")).unwrap().modified().unwrap();
        let before = modified();
        write_contract(folder.path(), &["sql"]);
        write(folder.path(), generator(), |_| module()).unwrap();
        assert!(bindings.join("reflow_capabilities_sql/wit_bindings.go").is_file());
        assert!(!bindings.join("reflow_capabilities_keyvalue/wit_bindings.go").exists(), "of the earlier world");
        assert_eq!(modified(), before, "a file with the same content is not touched");
    }

    #[test]
    fn mistakes_in_the_folder_are_named() {
        let empty = tempfile::tempdir().unwrap();
        let error = write(empty.path(), generator(), |_| vec![]).unwrap_err().to_string();
        assert!(error.contains("wit does not exist") && error.contains("plugin new"), "{error}");

        let folder = folder_with(&["keyvalue", "keyvaleu"]);
        let error = format!("{:#}", write(folder.path(), generator(), |_| vec![]).unwrap_err());
        assert!(error.contains("keyvaleu") && error.contains("world.wit"), "{error}");
        assert!(!folder.path().join("bindings").exists(), "nothing was written");

        fs::write(folder.path().join("wit/world.wit"), "package local:backend;\nworld mine {}\n").unwrap();
        let error = format!("{:#}", write(folder.path(), generator(), |_| vec![]).unwrap_err());
        assert!(error.contains("plugin") && error.contains("wit"), "{error}");
    }
}
