//! Charts are checked as XML text; how they look was judged by eye.

use super::*;

fn chart(points: Vec<(f64, f64)>) -> String {
    line_chart("t", "x", "y", &[Series::new("s", points)]).unwrap()
}

/// Tags balance, attributes are quoted, and no number is `NaN` or `inf`.
fn assert_well_formed(svg: &str) {
    assert!(
        svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"),
        "{svg}"
    );
    let mut open = Vec::new();
    for tag in svg.split('<').skip(1).map(|t| t.split('>').next().unwrap()) {
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name)),
            None if tag.ends_with('/') => {}
            None => open.push(tag.split_whitespace().next().unwrap()),
        }
    }
    assert!(open.is_empty(), "{open:?}");
    let numbers = svg
        .split("points=\"")
        .skip(1)
        .map(|p| p.split('"').next().unwrap());
    assert!(
        numbers
            .flat_map(|p| p.split([' ', ',']))
            .all(|n| n.is_empty() || n.parse::<i32>().is_ok())
    );
}

#[test]
fn a_chart_of_nothing_says_so() {
    for series in [
        vec![],
        vec![Series::new("s", vec![])],
        vec![Series::new("s", vec![(0.0, f64::NAN)])],
    ] {
        let svg = line_chart("t", "x", "y", &series).unwrap();
        assert_well_formed(&svg);
        assert!(svg.contains("no data"));
    }
}

#[test]
fn one_point_is_a_dot_and_a_gap_splits_the_line() {
    let single = chart(vec![(3.0, 0.5)]);
    assert_eq!(single.matches("<circle").count(), 1);
    let lines = |svg: &str| svg.matches("stroke-width=\"7\"").count();
    let whole = chart(vec![
        (0.0, 1.0),
        (1.0, 2.0),
        (2.0, 1.0),
        (3.0, 2.0),
        (4.0, 3.0),
    ]);
    let split = chart(vec![
        (0.0, 1.0),
        (1.0, 2.0),
        (2.0, f64::NAN),
        (3.0, 2.0),
        (4.0, 3.0),
    ]);
    assert_eq!((lines(&whole), lines(&split)), (1, 2));
    assert_well_formed(&split);
}

#[test]
fn extreme_values_still_make_a_chart() {
    let cases = [
        vec![(0.0, 1.0), (1.0, 1.0 + f64::EPSILON)],
        vec![(0.0, -1e300), (1.0, 1e300)],
        vec![(0.0, 1e-300), (1.0, 0.0)],
        vec![(1e15, 3e38), (1e15 + 2.0, 1e38)],
        vec![(5.0, 0.0), (5.0, f64::INFINITY)],
        vec![(0.0, -1e99), (1.0, 1e99)],
    ];
    for points in cases {
        assert_well_formed(&chart(points.clone()));
        assert_well_formed(&log_line_chart("t", "x", "y", &[Series::new("s", points)]).unwrap());
    }
}

#[test]
fn a_log_chart_leaves_out_what_has_no_logarithm() {
    let points = vec![(0.0, 0.0), (1.0, 1e-4), (2.0, 10.0), (3.0, -1.0)];
    let svg = log_line_chart("t", "x", "y", &[Series::new("s", points)]).unwrap();
    assert_well_formed(&svg);
    assert_eq!(svg.matches("<circle").count(), 2);
}

#[test]
fn long_series_keep_their_extremes() {
    let mut points: Vec<(f64, f64)> = (0..100_000).map(|i| (f64::from(i), 1.0)).collect();
    points[54_321].1 = 9.0;
    points[54_322].1 = -9.0;
    let kept = thin(&points);
    assert!(kept.len() <= MAX_POINTS, "{}", kept.len());
    assert!(kept.contains(&(54_321.0, 9.0)) && kept.contains(&(54_322.0, -9.0)));
    assert!(kept.windows(2).all(|pair| pair[0].0 < pair[1].0));
}

#[test]
fn noise_is_drawn_finer_than_trends() {
    let trend: Vec<(f64, f64)> = (0..500).map(|i| (f64::from(i), f64::from(i))).collect();
    let noise: Vec<(f64, f64)> = (0..500).map(|i| (f64::from(i), f64::from(i % 2))).collect();
    assert!(chart(trend).contains("stroke-width=\"7\""));
    assert!(!chart(noise).contains("stroke-width=\"7\""));
}

#[test]
fn names_from_outside_are_escaped() {
    let evil = "<script>alert('&\"')</script>\u{0}";
    let series = [Series::new(evil, vec![(0.0, 1.0)])];
    let labels = [evil.to_string(), "b".into()];
    let pictures = [
        line_chart(evil, evil, evil, &series).unwrap(),
        bars(evil, &[(evil.into(), 1.0)]).unwrap(),
        confusion_matrix(&[vec![1, 0], vec![2, 3]], &labels).unwrap(),
    ];
    for svg in pictures {
        assert_well_formed(&svg);
        assert!(!svg.contains("<script") && !svg.contains('\u{0}'));
    }
}

#[test]
fn a_confusion_matrix_shows_counts_and_accuracy() {
    let labels = ["cat".to_string(), "dog".into()];
    let svg = confusion_matrix(&[vec![8, 2], vec![1, 1989]], &labels).unwrap();
    assert_well_formed(&svg);
    assert!(svg.contains("Accuracy 99.85 % (1,997 of 2,000)"));
    for text in ["\n8\n", "\n2\n", "\n1\n", "\n1989\n", "cat", "dog"] {
        assert!(svg.contains(text), "{text:?}");
    }
    let n = 100;
    let counts: Vec<Vec<u64>> = (0..n)
        .map(|i| (0..n).map(|j| 7777 * u64::from(i == j)).collect())
        .collect();
    let names: Vec<String> = (0..n).map(|i| format!("class {i}")).collect();
    let large = confusion_matrix(&counts, &names).unwrap();
    assert_well_formed(&large);
    assert!(large.contains("class 99") && !large.contains("\n7777\n"));
    assert_well_formed(
        &confusion_matrix(&vec![vec![1; 300]; 300], &vec!["x".into(); 300]).unwrap(),
    );
    assert_well_formed(&confusion_matrix(&[], &[]).unwrap());
    assert_well_formed(&confusion_matrix(&[vec![0]], &["a".into()]).unwrap());
}

#[test]
fn a_ragged_matrix_is_refused() {
    let labels = ["a".to_string(), "b".into()];
    assert!(confusion_matrix(&[vec![1, 2], vec![3]], &labels).is_err());
    assert!(confusion_matrix(&[vec![1, 2], vec![3, 4]], &labels[..1]).is_err());
}

#[test]
fn bars_grow_from_zero_in_both_directions() {
    let values = [
        ("up".to_string(), 2.0),
        ("down".into(), -1.0),
        ("none".into(), f64::NAN),
    ];
    let svg = bars("t", &values).unwrap();
    assert_well_formed(&svg);
    assert!(svg.contains("n/a") && svg.contains("\n-1\n"));
    assert!(bars("t", &[]).unwrap().contains("no data"));
    assert_well_formed(&bars("t", &[("zero".into(), 0.0)]).unwrap());
}

#[test]
fn numbers_are_short() {
    let cases = [
        (0.0, "0"),
        (0.30000000000000004, "0.3"),
        (2.5e-5, "2.5e-5"),
        (-12.5, "-12.5"),
        (1500.0, "1500"),
        (20_000.0, "20k"),
        (1_500_000.0, "1.5M"),
        (f64::NAN, "n/a"),
    ];
    for (value, text) in cases {
        assert_eq!(number(value), text);
    }
    assert_eq!(
        [grouped(7), grouped(1234), grouped(12_345_678)],
        ["7", "1,234", "12,345,678"]
    );
}
