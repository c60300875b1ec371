//! What reading and splitting many interactions costs: `interactions ROWS FOLDER` writes a table of generated interactions
//! (if the folder has none of that size), reads it, divides it 8:1:1 per user, and says seconds and peak memory.
//!
//! `cargo run --release -p panoply-datasets --example interactions -- 10000000 /tmp/interactions`

use panoply_core::{report::peak_memory_bytes, seed};
use panoply_datasets::{Error, InteractionOptions, Interactions, Result, SplitConfig};
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::Instant,
};

const USERS: u64 = 200_000;
const ITEMS: u64 = 100_000;

/// A table of `rows` interactions: popular items and eager users are more frequent, pairs are mostly distinct.
fn generate(rows: u64, path: &Path) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "user_id,item_id,rating,timestamp")?;
    // The product of two uniform numbers leans to the small ones.
    let skewed = |bits: u64, count: u64| {
        let (a, b) = (bits >> 32, bits & 0xFFFF_FFFF);
        ((u128::from(a) * u128::from(b) * u128::from(count)) >> 64) as u64
    };
    for row in 0..rows {
        let user = skewed(seed::derive(&[1, row]), USERS);
        let item = skewed(seed::derive(&[2, row]), ITEMS);
        let bits = seed::derive(&[3, row]);
        let time = 1_500_000_000 + bits % 100_000_000;
        writeln!(file, "{user},{item},{},{time}", 1 + bits % 5)?;
    }
    file.flush()
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let wrong = |found: String| Error::input("command line", found, "ROWS FOLDER");
    let [rows, folder] = args.as_slice() else {
        return Err(wrong(format!("{} arguments", args.len())));
    };
    let rows: u64 = rows
        .parse()
        .map_err(|_no_number| wrong(format!("'{rows}'")))?;
    let path: PathBuf = Path::new(folder).join(format!("interactions-{rows}.csv"));
    std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    if !path.exists() {
        generate(rows, &path).map_err(|e| Error::io("write", &path, e))?;
    }
    let started = Instant::now();
    let data = Interactions::open(&path, &InteractionOptions::default())?;
    let read_secs = started.elapsed().as_secs_f64();
    let splits = SplitConfig::default().split(&data)?;
    let secs = started.elapsed().as_secs_f64();
    let parts: Vec<String> = splits
        .parts()
        .map(|(split, part)| format!("{split} {}", part.len()))
        .collect();
    let mebibytes = peak_memory_bytes().unwrap_or_default() >> 20;
    let line = format!(
        "{rows} rows, {} kept ({} users, {} items): read {read_secs:.1} s, with the split {secs:.1} s; {}; peak {mebibytes} MiB\n",
        data.len(),
        data.num_users(),
        data.num_items(),
        parts.join(", ")
    );
    std::io::stdout()
        .write_all(line.as_bytes())
        .map_err(|e| Error::io("write", "stdout", e))
}
