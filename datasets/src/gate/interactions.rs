//! The data gate of interactions.

use super::{Finding, GateReport, Kind, Level, SplitSummary};
use crate::interactions::{Csr, Interactions};
use std::collections::HashSet;

/// Looks for rows that do not parse and pairs of a user and an item that occur more than once (warnings), a pair in two
/// parts, a single user and a single item (errors), users and items of the other parts that the training part lacks,
/// times that are negative, times that fall from row to row, and ratings that are all the same.
pub fn inspect_interactions(train: &Interactions, others: &[(&str, &Interactions)]) -> GateReport {
    let mut splits = vec![("train", train)];
    splits.extend(others);
    let summary = |(name, part): &(&str, &Interactions)| SplitSummary {
        name: (*name).into(),
        location: part.location().into(),
        samples: part.len(),
        unusable: Vec::new(),
    };
    let summaries = splits.iter().map(summary).collect();
    let mut report = GateReport::new(train.location(), summaries, Vec::new());
    for finding in few(train) {
        report.push(finding.in_split("train"));
    }
    for (name, part) in others {
        for finding in unknown(train, part) {
            report.push(finding.in_split(*name));
        }
    }
    report.compare(&splits, single, shared);
    report
}

/// Too few users or items to tell them apart.
fn few(train: &Interactions) -> Vec<Finding> {
    let distinct = |column: &[u32]| column.iter().collect::<HashSet<_>>().len();
    let finding = |count: usize, what: &str| {
        let kind = Kind::FewSamples;
        (count < 2).then(|| Finding::new(Level::Error, kind, what, count, []))
    };
    let users = finding(
        distinct(train.users()),
        "user: nobody to learn from others for",
    );
    let items = finding(distinct(train.items()), "item: nothing to choose from");
    users.into_iter().chain(items).collect()
}

/// Users and items of which the training part knows nothing.
fn unknown(train: &Interactions, part: &Interactions) -> Vec<Finding> {
    let known = |column: &[u32], count: usize| {
        let mut known = vec![false; count];
        for &index in column {
            known[index as usize] = true;
        }
        known
    };
    let users = known(train.users(), train.num_users());
    let items = known(train.items(), train.num_items());
    let (mut new_users, mut new_items) = (Vec::new(), Vec::new());
    let new = |seen: &mut Vec<bool>, index: u32| {
        // Each once, in the order of the file.
        seen.get_mut(index as usize)
            .is_none_or(|seen| !std::mem::replace(seen, true))
    };
    let (mut seen_users, mut seen_items) = (users, items);
    for (&user, &item) in part.users().iter().zip(part.items()) {
        if new(&mut seen_users, user) {
            new_users.push(part.ids().users.name(user).to_string());
        }
        if new(&mut seen_items, item) {
            new_items.push(part.ids().items.name(item).to_string());
        }
    }
    let kind = Kind::ColdStart;
    [
        Finding::about(
            Level::Warning,
            kind,
            "users without training history",
            &new_users,
        ),
        Finding::about(
            Level::Info,
            kind,
            "items that training does not have",
            &new_items,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn single(part: &Interactions) -> Vec<Finding> {
    let (level, bad) = (Level::Warning, part.bad_rows());
    // Names are made for those alone that are shown.
    let about = |level, kind, what: &str, rows: &[usize]| {
        let names = rows.iter().map(|row| format!("interaction {}", row + 1));
        (!rows.is_empty()).then(|| Finding::new(level, kind, what, rows.len(), names))
    };
    let mut findings = Vec::new();
    if bad.count > 0 {
        let examples = bad.examples.iter().cloned();
        let what = "rows do not parse and are left out";
        findings.push(Finding::new(
            level,
            Kind::Corrupt,
            what,
            bad.count,
            examples,
        ));
    }
    if part.num_duplicates() > 0 {
        let what = "rows of a user and item seen before";
        let count = part.num_duplicates();
        findings.push(Finding::new(level, Kind::Duplicate, what, count, []));
    }
    if let Some(times) = part.timestamps() {
        let negative: Vec<usize> = (0..times.len()).filter(|&row| times[row] < 0.0).collect();
        findings.extend(about(level, Kind::Malformed, "negative times", &negative));
        let falling = falling(part, times);
        let what = "rows are older than an earlier row of the same user; times decide, not rows";
        findings.extend(about(Level::Info, Kind::Unordered, what, &falling));
    }
    if let Some([first, rest @ ..]) = part.ratings()
        && !rest.is_empty()
        && rest.iter().all(|rating| rating == first)
    {
        let what = format!("ratings, all {first}: they tell nothing");
        findings.push(Finding::new(
            Level::Info,
            Kind::Constant,
            what,
            part.len(),
            [],
        ));
    }
    findings
}

/// Rows with a time before that of an earlier row of the same user.
fn falling(part: &Interactions, times: &[f64]) -> Vec<usize> {
    let mut latest = vec![f64::NEG_INFINITY; part.num_users()];
    let is_older = |&row: &usize| {
        let last = &mut latest[part.users()[row] as usize];
        let older = times[row] < *last;
        *last = last.max(times[row]);
        older
    };
    (0..part.len()).filter(is_older).collect()
}

/// Pairs of both parts.
fn shared(part: &Interactions, with: &Interactions) -> Option<Finding> {
    let seen: Csr = part.by_user();
    let rows = with.users().iter().zip(with.items());
    let leaks = rows.filter(|&(&user, &item)| seen.row(user as usize).binary_search(&item).is_ok());
    let ids = with.ids();
    let name = |(&user, &item): (&u32, &u32)| {
        format!(
            "user {} and item {}",
            ids.users.name(user),
            ids.items.name(item)
        )
    };
    let leaks: Vec<(&u32, &u32)> = leaks.collect();
    let what = "pairs of a user and an item are in both";
    let names = leaks.iter().copied().map(name);
    (!leaks.is_empty()).then(|| Finding::new(Level::Error, Kind::Leakage, what, leaks.len(), names))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InteractionOptions, open_interaction_splits};

    fn parts(train: &str, test: &str) -> GateReport {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("train.csv", train);
        write("valid.csv", "user,item\nb,z\n");
        write("test.csv", test);
        let options = InteractionOptions {
            max_bad_rows: 0.5,
            ..InteractionOptions::default()
        };
        let splits =
            open_interaction_splits(folder.path(), &options, &crate::SplitConfig::default());
        let splits = splits.unwrap();
        inspect_interactions(&splits.train, &splits.others())
    }

    fn kinds(report: &GateReport) -> Vec<(Kind, Level, &str, usize)> {
        let findings = report.findings.iter();
        findings
            .map(|f| (f.kind, f.level, f.split.as_str(), f.count))
            .collect()
    }

    #[test]
    fn every_defect_is_found_once() {
        let train = "user,item,rating,time\na,x,3,9\na,y,3,-5\nb,x,3,1\nb,x,3,2\n,z,3,1\nb,z,3,8\n";
        let report = parts(train, "user,item\na,x\nnew,y\nnew,w\n");
        let expected = [
            (Kind::Leakage, Level::Error, "train, valid", 1),
            (Kind::Leakage, Level::Error, "train, test", 1),
            (Kind::Corrupt, Level::Warning, "train", 1),
            (Kind::Malformed, Level::Warning, "train", 1),
            (Kind::Duplicate, Level::Warning, "train", 1),
            (Kind::ColdStart, Level::Warning, "test", 1),
            (Kind::ColdStart, Level::Info, "test", 1),
            (Kind::Unordered, Level::Info, "train", 1),
            (Kind::Constant, Level::Info, "train", 4),
        ];
        let mut found = kinds(&report);
        found.sort_by_key(|&(kind, level, split, _)| (std::cmp::Reverse(level), kind, split.len()));
        let mut expected = expected.to_vec();
        expected
            .sort_by_key(|&(kind, level, split, _)| (std::cmp::Reverse(level), kind, split.len()));
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for one in &expected {
            assert!(found.contains(one), "{one:?} in {found:?}");
        }
        assert!(report.refuse_unless(false).is_err());
        assert!(report.to_string().contains("user a and item x"), "{report}");
    }

    #[test]
    fn one_user_and_one_item_are_errors() {
        let alone = |text: &str| {
            let options = InteractionOptions::default();
            let data = Interactions::from_bytes("x.csv", text.as_bytes(), &options).unwrap();
            inspect_interactions(&data, &[]).refuse_unless(false)
        };
        assert!(
            alone("user,item\na,x\na,y\n")
                .unwrap_err()
                .to_string()
                .contains("1 user")
        );
        assert!(
            alone("user,item\na,x\nb,x\n")
                .unwrap_err()
                .to_string()
                .contains("1 item")
        );
        assert!(alone("user,item\na,x\nb,y\n").is_ok());
    }
}
