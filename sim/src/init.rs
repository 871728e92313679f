//! `init`: what a workspace of one's own needs before the simulator compiles in it.

use crate::cli::complain;
use crate::exit::Exit;
use cofferdam_launch::out;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// The lines of cargo's configuration.
pub const CONFIG: &str = "\
# Written by `cofferdam init`. The simulator compiles only under this cfg; leave the RUSTFLAGS environment variable unset.
[build]
rustflags = [\"--cfg\", \"madsim\"]
rustdocflags = [\"--cfg\", \"madsim\"]
";

const NEXT: &str = "\
Add to Cargo.toml:

  [dependencies]
  cofferdam-engine = { path = \"…/cofferdam/engine\" }

  [dev-dependencies]
  cofferdam-sim = { path = \"…/cofferdam/sim\" }

Then test your job:

  #[test]
  fn my_job_is_exactly_once() {
      cofferdam_sim::check(my_job).input(\"input/a.txt\", \"some lines\\n\").seeds(200).run();
  }
";

/// Writes the configuration into `folder`, and says what else there is to do.
pub fn init(folder: &Path) -> Exit {
    match configure(folder) {
        Ok(done) => {
            out::say(format_args!("{done}\n\n{NEXT}"));
            Exit::Clean
        }
        Err(message) => complain(&message, Exit::Usage),
    }
}

fn configure(folder: &Path) -> Result<String, String> {
    if !folder.is_dir() {
        return Err(format!("{} is no folder", folder.display()));
    }
    let path = folder.join(".cargo/config.toml");
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    match fs::read_to_string(&path) {
        Ok(text) if is_configured(&text) => Ok(format!("{} says so already", path.display())),
        Ok(_) => Err(format!(
            "{} is there and says something else: add rustflags and rustdocflags = [\"--cfg\", \"madsim\"] to its [build]",
            path.display()
        )),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(folder.join(".cargo")).map_err(failed)?;
            fs::write(&path, CONFIG).map_err(failed)?;
            Ok(format!("wrote {}", path.display()))
        }
        Err(e) => Err(failed(e)),
    }
}

/// Whether a configuration sets the cfg for code and for its documentation.
fn is_configured(text: &str) -> bool {
    let Ok(table) = text.parse::<toml::Table>() else { return false };
    let flags = |name: &str| table.get("build").and_then(|build| build.get(name)).and_then(toml::Value::as_array);
    let sets = |flags: &Vec<toml::Value>| {
        let words: Vec<&str> = flags.iter().filter_map(toml::Value::as_str).collect();
        words.windows(2).any(|pair| pair == ["--cfg", "madsim"]) || words.contains(&"--cfg=madsim")
    };
    flags("rustflags").is_some_and(sets) && flags("rustdocflags").is_some_and(sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_written_once_and_never_over_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(".cargo/config.toml");
        assert!(configure(folder.path()).expect("an empty folder").starts_with("wrote "));
        assert!(is_configured(&fs::read_to_string(&path).expect("it is there")));
        assert!(configure(folder.path()).expect("its own").ends_with("says so already"));

        fs::write(&path, "[build]\nrustflags = [\"-C\", \"target-cpu=native\"]\n").expect("written");
        let message = configure(folder.path()).expect_err("somebody's");
        assert!(message.contains("says something else") && !message.contains('\n'), "{message}");
        assert!(fs::read_to_string(&path).expect("left alone").contains("target-cpu"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        assert_eq!(configure(Path::new("/nowhere/at/all")), Err("/nowhere/at/all is no folder".to_owned()));
    }

    #[test]
    fn what_it_writes_is_what_this_workspace_and_the_example_have() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
        let read = |path: &str| fs::read_to_string(root.join(path)).expect("it is there");
        assert!(is_configured(&read(".cargo/config.toml")));
        assert_eq!(read("examples/outside/.cargo/config.toml"), CONFIG);
    }
}
