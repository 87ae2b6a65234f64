//! The grid of RGAA 4.1 has all criteria, each with an honest line. That the checks it names are made, `.ci/console` finds.
// Clippy knows only functions marked as tests, which may panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

const GRID: &str = include_str!("../accessibility/rgaa-4.1.tsv");
const BROWSER: &str = include_str!("browser/check.mjs");
/// Criteria of each theme: images, frames, colours, media, tables, links, scripts, mandatory elements, structure,
/// presentation, forms, navigation, consultation.
const THEMES: [usize; 13] = [9, 2, 3, 13, 8, 2, 5, 10, 4, 14, 13, 11, 12];

#[test]
fn the_grid_has_all_criteria_and_every_verdict_its_ground() {
    let rows: Vec<Vec<&str>> = GRID
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()))
        .map(|line| line.split('\t').collect())
        .collect();
    let expected: Vec<String> = THEMES
        .iter()
        .enumerate()
        .flat_map(|(theme, count)| (1..=*count).map(move |number| format!("{}.{number}", theme + 1)))
        .collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), expected);
    assert_eq!(rows.len(), 106);
    for row in &rows {
        let [criterion, subject, verdict, checked, date, reason] = row[..] else { panic!("{row:?}") };
        assert!(!subject.is_empty() && ["C", "NC", "NA"].contains(&verdict), "{criterion}");
        assert!(date.len() == 10 && date.starts_with("20"), "{criterion}: {date}");
        // What does not conform, or does not apply, says why.
        assert!(verdict == "C" || !reason.is_empty(), "{criterion}");
        for how in checked.split(' ') {
            match how.split_once(':') {
                None => assert_eq!(how, "hand", "{criterion}"),
                Some(("axe", rule)) => assert!(!rule.is_empty(), "{criterion}"),
                Some((_, name)) => {
                    let is_made =
                        BROWSER.contains(&format!("check(\"{name}\"")) || BROWSER.contains(&format!("[\"{name}\","));
                    assert!(is_made, "{criterion}: no check {name} in check.mjs");
                }
            }
        }
    }
}
