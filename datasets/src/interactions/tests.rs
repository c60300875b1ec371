use super::*;
use crate::{Split, Splits};
use std::io::Write;

fn read(location: &str, text: &str) -> Result<Interactions> {
    Interactions::from_bytes(location, text.as_bytes(), &InteractionOptions::default())
}

fn options(edit: impl FnOnce(&mut InteractionOptions)) -> InteractionOptions {
    let mut options = InteractionOptions::default();
    edit(&mut options);
    options
}

fn pairs(data: &Interactions) -> Vec<(&str, &str)> {
    let ids = data.ids();
    let each = data.users().iter().zip(data.items());
    each.map(|(&u, &i)| (ids.users.name(u), ids.items.name(i)))
        .collect()
}

#[test]
fn every_form_gives_the_same_rows() {
    let expected = [("u1", "a"), ("7", "b"), ("u1", "b")];
    let forms = [
        (
            "x.csv",
            "userId,movieId,rating,timestamp\nu1,a,4,10\n7,b,3.5,5\n\"u1\",b,1,20\n",
        ),
        (
            "x.inter",
            "item_id:token\tuser_id:token\trating:float\ttimestamp:float\na\tu1\t4\t10\nb\t7\t3.5\t5\nb\tu1\t1\t20\n",
        ),
        (
            "x.jsonl",
            "{\"user\":\"u1\",\"item\":\"a\",\"rating\":4,\"timestamp\":10}\n\n{\"item\":\"b\",\"user\":7,\"rating\":3.5,\"timestamp\":5}\n{\"user\":\"u1\",\"item\":\"b\",\"rating\":1,\"timestamp\":20}\n",
        ),
        (
            "x.dat",
            "user::item::rating::timestamp\nu1::a::4::10\n7::b::3.5::5\nu1::b::1::20\n",
        ),
    ];
    for (name, text) in forms {
        let data = read(name, text).unwrap();
        assert_eq!(pairs(&data), expected, "{name}");
        assert_eq!(data.ratings(), Some(&[4.0, 3.5, 1.0][..]), "{name}");
        assert_eq!(data.timestamps(), Some(&[10.0, 5.0, 20.0][..]), "{name}");
        assert_eq!(data.users(), [0, 1, 0], "{name}");
    }
}

#[test]
fn files_without_a_header_and_sequences_are_read() {
    let data = read("u.data", "1\t9\t3\t100\n2\t9\t4\t50\n").unwrap();
    assert_eq!(pairs(&data), [("1", "9"), ("2", "9")]);
    assert_eq!(data.timestamps(), Some(&[100.0, 50.0][..]));
    let named = options(|o| o.header = Some(["item", "user"].map(String::from).to_vec()));
    let data = Interactions::from_bytes("x.csv", b"a,b\n", &named).unwrap();
    assert_eq!(pairs(&data), [("b", "a")]);
    let sequences = options(|o| o.sequences = true);
    let data = Interactions::from_bytes("x.txt", b"1 5 6\n2 6\n", &sequences).unwrap();
    assert_eq!(pairs(&data), [("1", "5"), ("1", "6"), ("2", "6")]);
}

#[test]
fn a_gzipped_file_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tsv.gz");
    let file = std::fs::File::create(&path).unwrap();
    let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    packed.write_all(b"user\titem\na\tb\n").unwrap();
    packed.finish().unwrap();
    let data = Interactions::open(&path, &InteractionOptions::default()).unwrap();
    assert_eq!(pairs(&data), [("a", "b")]);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 6]).unwrap();
    assert!(Interactions::open(&path, &InteractionOptions::default()).is_err());
}

#[test]
fn what_does_not_parse_is_counted_listed_and_refused() {
    let text = "user,item,rating\na,x,1\n,x,1\nb,y,nan\nb,y,inf\nb,y,1e40\nb\nc,z,2\n";
    let error = read("x.csv", text).unwrap_err().to_string();
    assert!(error.contains("5 of 7 rows do not parse"), "{error}");
    assert!(
        error.contains("line 3: no user") && error.contains("line 4: the rating 'nan'"),
        "{error}"
    );
    let lenient = options(|o| o.max_bad_rows = 0.8);
    let data = Interactions::from_bytes("x.csv", text.as_bytes(), &lenient).unwrap();
    assert_eq!(pairs(&data), [("a", "x"), ("c", "z")]);
    assert_eq!(data.bad_rows().count, 5);
    assert_eq!(data.bad_rows().examples[4], "line 7: no item");
}

#[test]
fn bad_files_say_what_is_wrong() {
    let message = |name: &str, text: &str| read(name, text).unwrap_err().to_string();
    assert!(message("x.csv", "").contains("no interactions"));
    assert!(message("x.csv", "user,item\n").contains("no interactions"));
    assert!(
        message("x.csv", "person,item\na,b\n").contains("no column of a usual name for the users")
    );
    assert!(message("x.jsonl", "{\"user\":1}\n").contains("for the items"));
    let wrong = options(|o| o.item = Some("sku".into()));
    let error = Interactions::from_bytes("x.csv", b"user,item\na,b\n", &wrong).unwrap_err();
    assert!(error.to_string().contains("no column 'sku'"), "{error}");
    let rated = options(|o| o.min_rating = Some(3.0));
    assert!(Interactions::from_bytes("x.csv", b"user,item\na,b\n", &rated).is_err());
    let odd = options(|o| o.separator = Some("ab".into()));
    assert!(Interactions::from_bytes("x.csv", b"user,item\na,b\n", &odd).is_err());
}

#[test]
fn filters_keep_what_they_should() {
    let rated = options(|o| o.min_rating = Some(3.0));
    let text = b"user,item,rating\na,x,2\nb,y,3\na,y,4\n";
    let data = Interactions::from_bytes("x.csv", text, &rated).unwrap();
    assert_eq!(
        (pairs(&data), data.num_items()),
        (vec![("b", "y"), ("a", "y")], 1)
    );
    // `c` has one interaction; without it `z` has one, and without that `b` has one.
    let text = b"user,item\nc,z\nb,z\nb,x\na,x\na,y\nd,x\nd,y\n";
    let core = options(|o| (o.min_user_interactions, o.min_item_interactions) = (2, 2));
    let data = Interactions::from_bytes("x.csv", text, &core).unwrap();
    assert_eq!(
        pairs(&data),
        [("a", "x"), ("a", "y"), ("d", "x"), ("d", "y")]
    );
    assert_eq!((data.users(), data.num_users()), (&[0, 0, 1, 1][..], 2));
    let core = options(|o| o.min_user_interactions = 9);
    assert!(Interactions::from_bytes("x.csv", text, &core).is_err());
}

#[test]
fn duplicates_are_counted_and_settled() {
    let text = b"user,item,rating\na,x,1\na,y,2\na,x,3\n";
    let with =
        |rule| Interactions::from_bytes("x.csv", text, &options(|o| o.duplicates = rule)).unwrap();
    let ratings = |rule| with(rule).ratings().unwrap().to_vec();
    assert_eq!(ratings(Duplicates::First), [1.0, 2.0]);
    assert_eq!(ratings(Duplicates::Last), [2.0, 3.0]);
    assert_eq!(ratings(Duplicates::Keep), [1.0, 2.0, 3.0]);
    assert!(
        [Duplicates::First, Duplicates::Last, Duplicates::Keep]
            .map(with)
            .iter()
            .all(|d| d.num_duplicates() == 1)
    );
}

/// `n` interactions of a user, with falling times.
fn user(name: &str, n: usize) -> String {
    let row = |i: usize| format!("{name},i{i},{}\n", 100 - i);
    (0..n).map(row).collect::<Vec<_>>().concat()
}

fn parts(splits: &Splits<Interactions>) -> Vec<(Split, Vec<(&str, &str)>)> {
    splits
        .parts()
        .map(|(split, part)| (split, pairs(part)))
        .collect()
}

#[test]
fn ratios_count_as_recbole_counts() {
    // RecBole 1.2.1's `_calcu_split_ids` with [0.8, 0.1, 0.1] for each total.
    let expected = [
        (1, [1, 0, 0]),
        (2, [1, 0, 1]),
        (3, [1, 1, 1]),
        (9, [7, 1, 1]),
        (10, [8, 1, 1]),
        (19, [17, 1, 1]),
        (20, [16, 2, 2]),
        (29, [25, 2, 2]),
        (105, [85, 10, 10]),
    ];
    let config = SplitConfig::default();
    for (total, counts) in expected {
        assert_eq!(config.counts(total), counts, "{total}");
    }
}

#[test]
fn random_splits_follow_the_seed() {
    let text = format!("user,item,time\n{}{}", user("a", 20), user("b", 1));
    let data = read("x.csv", &text).unwrap();
    let split = |seed| {
        SplitConfig {
            seed,
            ..SplitConfig::default()
        }
        .split(&data)
        .unwrap()
    };
    let one = split(1);
    let lengths: Vec<usize> = one.parts().map(|(_, part)| part.len()).collect();
    assert_eq!(lengths, [17, 2, 2]);
    assert_eq!(one, split(1));
    assert_ne!(one.test, split(2).test);
    let mut all: Vec<_> = one.parts().flat_map(|(_, part)| pairs(part)).collect();
    all.sort_unstable();
    let mut every = pairs(&data);
    every.sort_unstable();
    assert_eq!(all, every);
}

#[test]
fn time_orders_what_is_left_out() {
    let text = format!(
        "user,item,time\n{}{}{}",
        user("a", 4),
        user("b", 2),
        user("c", 1)
    );
    let data = read("x.csv", &text).unwrap();
    let config = SplitConfig {
        kind: SplitKind::LeaveOneOut,
        ..SplitConfig::default()
    };
    let splits = config.split(&data).unwrap();
    let expected = vec![
        (
            Split::Train,
            vec![("a", "i2"), ("a", "i3"), ("b", "i1"), ("c", "i0")],
        ),
        (Split::Valid, vec![("a", "i1")]),
        (Split::Test, vec![("a", "i0"), ("b", "i0")]),
    ];
    assert_eq!(parts(&splits), expected);
    assert_eq!(splits.train.histories().row(0), [3, 2]);
    let config = SplitConfig {
        kind: SplitKind::Time,
        ratios: [2.0, 1.0, 1.0],
        ..config
    };
    let splits = config.split(&data).unwrap();
    assert_eq!(pairs(splits.test.as_ref().unwrap())[0], ("a", "i0"));
    let untimed = read("x.csv", "user,item\na,x\na,y\na,z\n").unwrap();
    assert!(
        config
            .split(&untimed)
            .unwrap_err()
            .to_string()
            .contains("no times")
    );
    let config = SplitConfig {
        kind: SplitKind::LeaveOneOut,
        order: Order::File,
        ..config
    };
    assert_eq!(
        pairs(config.split(&untimed).unwrap().test.as_ref().unwrap()),
        [("a", "z")]
    );
}

#[test]
fn written_splits_are_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("toy");
    let text = format!("user,item,time\n{}{}", user("a", 20), user("b", 5));
    let data = read("x.csv", &text).unwrap();
    let splits = SplitConfig::default().split(&data).unwrap();
    write_splits(&splits, &folder).unwrap();
    let train = std::fs::read_to_string(folder.join("toy.train.inter")).unwrap();
    assert!(
        train.starts_with("user_id:token\titem_id:token\ttimestamp:float\n"),
        "{train}"
    );
    let again = open_interaction_splits(
        &folder,
        &InteractionOptions::default(),
        &SplitConfig::default(),
    )
    .unwrap();
    assert!(!again.is_held_out);
    assert_eq!(parts(&again), parts(&splits));
    // The model knows the ids of its own training file; `new` comes after them.
    std::fs::write(
        folder.join("toy.test.inter"),
        "user_id:token\titem_id:token\nb\ti0\nnew\ti1\n",
    )
    .unwrap();
    let known = again.train.ids();
    let (scored, before) =
        open_interactions_for_eval(&folder, &InteractionOptions::default(), known).unwrap();
    assert_eq!(pairs(&scored), [("b", "i0"), ("new", "i1")]);
    assert_eq!(
        (scored.users()[1] as usize, before.len()),
        (known.users.len(), 2)
    );
    std::fs::remove_file(folder.join("toy.valid.inter")).unwrap();
    let held = open_interaction_splits(
        &folder,
        &InteractionOptions::default(),
        &SplitConfig::default(),
    )
    .unwrap();
    assert!(held.is_held_out && !held.valid.is_empty() && held.test.unwrap().len() == 2);
    let whole = SplitConfig {
        ratios: [1.0, 0.0, 0.0],
        ..SplitConfig::default()
    };
    let all = open_interaction_splits(&folder, &InteractionOptions::default(), &whole).unwrap();
    assert!(all.valid.is_empty() && all.train.len() == again.train.len());
}

#[cfg(feature = "tables")]
#[test]
fn parquet_is_read_in_slices_and_damage_is_an_error() {
    use polars::prelude::{Column, DataFrame, ParquetWriter};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let columns = vec![
        Column::new("user_id".into(), [1_i64, 2, 1]),
        Column::new("item".into(), ["a", "b", "b"]),
        Column::new("rating".into(), [4.0_f64, 3.5, 1.0]),
    ];
    let mut frame = DataFrame::new(3, columns).unwrap();
    ParquetWriter::new(std::fs::File::create(&path).unwrap())
        .finish(&mut frame)
        .unwrap();
    let data = Interactions::open(&path, &InteractionOptions::default()).unwrap();
    assert_eq!(pairs(&data), [("1", "a"), ("2", "b"), ("1", "b")]);
    assert_eq!(data.ratings(), Some(&[4.0, 3.5, 1.0][..]));
    let mut starts = Vec::new();
    let choose = |_: &[String]| Ok([Some(1)]);
    crate::tables::read_slices::<1>(&path, 2, &choose, |start, [cells]| {
        starts.push((start, cells.unwrap().len()));
        Ok(())
    })
    .unwrap();
    assert_eq!(starts, [(0, 2), (2, 1)]);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(Interactions::open(&path, &InteractionOptions::default()).is_err());
}
