//! Searching linked datasets.

use stet_domain::ColumnType;
use stet_domain::project::{CsvForm, Format};
use stet_engine::control::Control;
use stet_engine::live::LinkIndex;
use stet_engine::read::FileSource;

use crate::build_support::Folder;

fn airports() -> LinkIndex {
    let path = crate::package().join("tests/data/airports.csv");
    let source =
        FileSource { dataset: "airports".into(), path, format: Format::Csv, csv: CsvForm::default(), columns: None };
    LinkIndex::load(&source, "iata", "name", &["city".into(), "state".into()], &Control::unwatched()).unwrap()
}

fn keys(index: &LinkIndex, term: &str, limit: usize) -> Vec<String> {
    index.search(term, limit).rows.iter().map(|row| row.key.to_owned()).collect()
}

#[test]
fn real_airports_are_found_by_code_name_city_and_state() {
    let index = airports();
    assert_eq!(index.len(), 3_376);
    assert_eq!(keys(&index, "dfw", 5)[0], "DFW");
    assert!(keys(&index, "dallas fort worth", 5).contains(&"DFW".to_owned()));
    assert_eq!(keys(&index, "WORTH dallas international", 5)[0], "DFW");
    let row = index.get("JFK").unwrap();
    assert_eq!((row.label, row.lookups), (Some("John F Kennedy Intl"), vec![Some("New York"), Some("NY")]));
    assert!(index.contains("JFK") && !index.contains("jfk") && !index.contains(""));
    let few = index.search("international", 3);
    assert_eq!((few.rows.len(), few.more), (3, true));
    assert!(!index.search("no such airport at all", 3).more);
    assert_eq!(keys(&index, "", 2).len(), 2);
    assert!(index.bytes() > 100_000);
}

#[test]
fn exact_keys_come_before_prefixes_words_and_parts_whatever_the_case_and_accents() {
    let folder = Folder::new();
    let source = folder.csv(
        "places",
        "key,label,lookup\n1,Saint-Élan,\n2,Elan,\n3,elan vital,\nélan,x,\n4,The Elanor,\n5,Phelan,\n6,y,b ELAN\n,no key,\n1,twice,\n7,,\n",
        &[("key", ColumnType::Text), ("label", ColumnType::Text), ("lookup", ColumnType::Text)],
    );
    let index = LinkIndex::load(&source, "key", "label", &["lookup".into()], &Control::unwatched()).unwrap();
    assert_eq!(keys(&index, " ELAN ", 20), ["élan", "2", "3", "6", "1", "4", "5"]);
    // Of rows with the same key the first counts; one without a label is there.
    assert_eq!(index.get("1").unwrap().label, Some("Saint-Élan"));
    assert_eq!(index.get("7").unwrap().label, None);
    assert_eq!(index.len(), 8);
    let source = folder.csv(
        "towns",
        "key,label\n1,Łódź\n2,Tromsø\n3,Großenhain\n",
        &[("key", ColumnType::Text), ("label", ColumnType::Text)],
    );
    let towns = LinkIndex::load(&source, "key", "label", &[], &Control::unwatched()).unwrap();
    for (term, key) in [("lodz", "1"), ("ŁÓDŹ", "1"), ("tromso", "2"), ("grossen", "3"), ("groß", "3")] {
        assert_eq!(keys(&towns, term, 20), [key], "{term}");
    }
    let error = LinkIndex::load(&source, "key", "labl", &[], &Control::unwatched()).unwrap_err().to_string();
    assert!(error.contains("`labl`, which is not there; it has `label`"), "{error}");
}
