//! The folders of a run: what is refused before anything starts, because going on would lose or mix up data.
//!
//! * Output inside input would be read as input; output inside checkpoints would be swept away with them.
//! * Checkpoints of another job cannot be restored. A job that has finished needs neither input nor output any more: nobody
//!   looks at them.
//! * Output that no checkpoint here knows of was written by something else: its files would be mixed with this run's.
//!
//! Whether output and checkpoints belong together is decided by the leader, from the marks in the output
//! ([`cofferdam_engine::cores::ownership`]): what is looked at here may change while other processes of the same job
//! start.

use bytes::Bytes;
use cofferdam_engine::error::{Error, Result};
use cofferdam_engine::ids::LogId;
use cofferdam_engine::os::mount::{Mount, Mounts, STAGING};
use cofferdam_engine::persist::layout;
use cofferdam_engine::persist::mark::Name;
use cofferdam_engine::persist::reader;
use cofferdam_engine::persist::slot::SlotRecord;
use cofferdam_engine::reason::Ended;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Where a run reads and writes.
#[derive(Clone, Debug)]
pub struct Folders {
    /// A file, or a folder with everything in it.
    pub input: Option<PathBuf>,
    /// Where output goes.
    pub output: PathBuf,
    /// Where checkpoints go.
    pub checkpoints: PathBuf,
}

/// What the log of a checkpoint folder says before anything starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stand {
    /// The job has something left to do.
    Open,
    /// It has finished, and this is its log.
    Finished(LogId),
}

impl Folders {
    /// Checks the folders for `job`, makes those that are missing, and mounts them. Others may be using them.
    pub fn share(&self, job: &str) -> Result<Mounts> {
        check_folder("checkpoints", &self.checkpoints)?;
        let checkpoints = || Mount::folder("checkpoint folder", &self.checkpoints);
        if let Stand::Finished(log) = self.stand(job)? {
            let mounts = Mounts::default().with(layout::CHECKPOINTS, checkpoints()?);
            // What sinks staged in its own output is cleared away, if that can be done. Any other output does not matter.
            return Ok(match self.is_owned_by(log).then(|| Mount::folder("output folder", &self.output)) {
                Some(Ok(output)) => mounts.with(layout::OUTPUT, output),
                Some(Err(_)) | None => mounts,
            });
        }
        let input = self.mount_input()?;
        check_folder("output", &self.output)?;
        self.check_apart()?;
        self.check_output()?;
        let mut mounts = Mounts::default()
            .with(layout::CHECKPOINTS, checkpoints()?)
            .with(layout::OUTPUT, Mount::folder("output folder", &self.output)?);
        if let Some(input) = input {
            mounts = mounts.with(layout::INPUT, input);
        }
        Ok(mounts)
    }

    /// The input. A job that goes on may have read what is gone by now, and does not read what came later.
    fn mount_input(&self) -> Result<Option<Mount>> {
        let Some(input) = &self.input else { return Ok(None) };
        // What cannot be read here is for the coordinator to judge.
        let fetch = |path: &str| fetch(&self.checkpoints, path);
        let log = slots(&self.checkpoints).and_then(|slots| reader::read_log(&fetch, &slots)).unwrap_or_default();
        let goes_on = !reader::retained(&log).is_empty();
        if goes_on { Mount::input_read_before(input) } else { Mount::input(input) }.map(Some)
    }

    fn check_apart(&self) -> Result<()> {
        let mut places = vec![("output", &self.output), ("checkpoints", &self.checkpoints)];
        places.extend(self.input.as_ref().map(|input| ("input", input)));
        let resolve = |(name, path): (&'static str, &PathBuf)| Ok((name, path.clone(), resolved(path)?));
        let places: Vec<(&str, PathBuf, PathBuf)> = places.into_iter().map(resolve).collect::<Result<_>>()?;
        for (inner, inner_path, inner_resolved) in &places {
            for (outer, outer_path, outer_resolved) in &places {
                if inner != outer && inner_resolved.starts_with(outer_resolved) {
                    let (inner_path, outer_path) = (inner_path.display(), outer_path.display());
                    return Err(Error::give_up(format!(
                        "{inner} {inner_path} lies in {outer} {outer_path}: input, output and checkpoints must lie apart"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Whether the job has anything left to do. Refuses the checkpoints of another job.
    fn stand(&self, job: &str) -> Result<Stand> {
        let fetch = |path: &str| fetch(&self.checkpoints, path);
        // Whatever cannot be read here is for the coordinator to judge, who reads it again with patience.
        let log = reader::read_log(&fetch, &slots(&self.checkpoints)?).unwrap_or_default();
        match log.last() {
            Some((_, slot)) if slot.job.name != job => {
                let (checkpoints, other) = (self.checkpoints.display(), &slot.job.name);
                Err(Error::give_up(format!("{checkpoints} holds checkpoints of job {other}, not of {job}")))
            }
            Some((_, slot)) => match slot.record {
                SlotRecord::Ended { how: Ended::Finished { .. }, .. } => Ok(Stand::Finished(slot.log)),
                SlotRecord::Ended { .. }
                | SlotRecord::NewGeneration
                | SlotRecord::IdsReserved
                | SlotRecord::Completed { .. } => Ok(Stand::Open),
            },
            None => Ok(Stand::Open),
        }
    }

    /// Whether the output is there, and has the mark of this log and of no other.
    fn is_owned_by(&self, log: LogId) -> bool {
        let Ok(entries) = fs::read_dir(&self.output) else { return false };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let marks = names.filter_map(|name| Name::of(&layout::at_output(name)));
        let owners: Vec<Name> = marks.filter(|mark| matches!(mark, Name::Log(_))).collect();
        owners == [Name::Log(log)]
    }

    /// Output without checkpoints is somebody else's. The output comes first: what another process of this job has put there
    /// by now, it has put there after it had begun the log.
    fn check_output(&self) -> Result<()> {
        let Some(file) = first_file(&self.output)? else { return Ok(()) };
        if !slots(&self.checkpoints)?.is_empty() {
            return Ok(());
        }
        Err(Error::give_up(format!(
            "output folder {} holds {} already, but {} has no checkpoint that knows of it: choose an empty output folder, or \
             the checkpoints that belong to this one",
            self.output.display(),
            file.display(),
            self.checkpoints.display()
        )))
    }
}

fn check_folder(name: &str, folder: &Path) -> Result<()> {
    if folder.exists() && !folder.is_dir() {
        return Err(Error::give_up(format!("{name} {} is not a folder", folder.display())));
    }
    Ok(())
}

/// Reads an object of a checkpoint folder, by its path in storage.
pub fn fetch(folder: &Path, path: &str) -> Result<Option<Bytes>> {
    let Some(name) = layout::below_checkpoints(path) else {
        return Err(Error::corrupt(format!("{path} does not lie among the checkpoints")));
    };
    if name.split('/').any(|part| part == "..") {
        return Err(Error::corrupt(format!("{path} leaves the checkpoint folder")));
    }
    let file = folder.join(name);
    match fs::read(&file) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::give_up(format!("cannot read {}: {e}", file.display()))),
    }
}

/// The paths in storage of everything in the log of a checkpoint folder.
pub fn slots(folder: &Path) -> Result<Vec<String>> {
    let log = folder.join("log");
    let cannot = |e: io::Error| Error::give_up(format!("cannot read {}: {e}", log.display()));
    let entries = match fs::read_dir(&log) {
        Ok(entries) => entries,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(e) => return Err(cannot(e)),
    };
    let name = |entry: io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let names = entries.map(name).collect::<io::Result<Vec<String>>>().map_err(cannot)?;
    let paths = names.into_iter().map(|name| format!("{}/{name}", layout::LOG));
    Ok(paths.filter(|path| layout::log_entry_number(path).is_some()).collect())
}

/// The path without links, also if its last parts do not exist yet.
fn resolved(path: &Path) -> Result<PathBuf> {
    let absolute =
        std::path::absolute(path).map_err(|e| Error::give_up(format!("{} is no path: {e}", path.display())))?;
    for existing in absolute.ancestors() {
        if let Ok(real) = fs::canonicalize(existing) {
            let rest = absolute.strip_prefix(existing).expect("an ancestor is a prefix");
            // Folders of the rest will be made, so none of them is a link, and `..` leads back to where it came from.
            let mut resolved = real;
            for part in rest.components() {
                match part {
                    Component::ParentDir => drop(resolved.pop()),
                    part => resolved.push(part),
                }
            }
            return Ok(fs::canonicalize(&resolved).unwrap_or(resolved));
        }
    }
    Ok(absolute)
}

/// Some file below `folder`, hidden ones aside.
fn first_file(folder: &Path) -> Result<Option<PathBuf>> {
    let cannot = |e: io::Error| Error::give_up(format!("cannot read {}: {e}", folder.display()));
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(cannot(e)),
    };
    for entry in entries {
        let entry = entry.map_err(cannot)?;
        let name = entry.file_name();
        if name == STAGING || name.to_string_lossy().starts_with('.') {
            continue;
        }
        let found = if entry.path().is_dir() { first_file(&entry.path())? } else { Some(entry.path()) };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
