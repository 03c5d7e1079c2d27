//! Project files: what they mean and how their errors read.

use stet_domain::project::{FileText, Location, ProjectFiles, RecipeKind, Role, load};
use stet_domain::{DatasetName, ProjectKey};

fn files(texts: &[(&str, &str)]) -> ProjectFiles {
    let mut files = ProjectFiles::default();
    for (path, text) in texts {
        let file = FileText { path: (*path).to_owned(), text: (*text).to_owned() };
        let stem = path.rsplit('/').next().unwrap().rsplit_once('.').unwrap().0.to_owned();
        match path.split_once('/') {
            None => files.project = Some(file),
            Some(("datasets", _)) => _ = files.datasets.insert(stem, file),
            Some(("webapps", _)) => _ = files.webapps.insert(stem, file),
            Some(("recipes", rest)) if rest.ends_with(".sql") => _ = files.queries.insert(stem, file),
            Some(_) => _ = files.recipes.insert(stem, file),
        }
    }
    files
}

const PROJECT: (&str, &str) = ("project.toml", "name = \"Bird strikes\"\n");
const STRIKES: (&str, &str) = (
    "datasets/strikes.toml",
    "path = \"strikes.csv\"\nkey = [\"strike_id\"]\ncolumns = [\n  { name = \"strike_id\", type = \"integer\" },\n  \
     { name = \"size\", type = \"text\" },\n]\n",
);
const CORRECT: (&str, &str) =
    ("webapps/correct.toml", "original = \"strikes\"\n[[editable]]\ncolumn = \"size\"\nallowed = [\"Small\"]\n");

fn problems(texts: &[(&str, &str)]) -> Vec<String> {
    match load(ProjectKey::new("BIRDS").unwrap(), &files(texts)) {
        Ok(_) => Vec::new(),
        Err(error) => error.problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_webapp_brings_its_editlog_and_its_two_recipes_along() {
    let project = load(ProjectKey::new("BIRDS").unwrap(), &files(&[PROJECT, STRIKES, CORRECT])).unwrap();
    let name = |text: &str| DatasetName::new(text).unwrap();
    assert_eq!(project.role(&name("strikes")), Role::Original);
    assert_eq!(project.role(&name("strikes_editlog")), Role::Editlog);
    assert_eq!(project.role(&name("strikes_editlog_pivoted")), Role::EditlogPivoted);
    assert_eq!(project.role(&name("strikes_edited")), Role::Edited);
    assert!(matches!(project.datasets[&name("strikes_edited")].location, Location::Files { connection: None, .. }));
    let apply = project.recipe_of(&name("strikes_edited")).unwrap();
    assert!(matches!(apply.kind, RecipeKind::Apply { .. }));
    assert_eq!(apply.inputs, [name("strikes"), name("strikes_editlog")]);
}

#[test]
fn an_unknown_field_is_told_with_its_line_and_the_fields_there_are() {
    let found = problems(&[PROJECT, ("datasets/strikes.toml", "path = \"strikes.csv\"\nkeys = [\"strike_id\"]\n")]);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("datasets/strikes.toml:2:1: unknown field `keys`, expected one of"), "{}", found[0]);
}

#[test]
fn wrong_references_are_told_with_their_line_and_what_there_is() {
    let found = problems(&[
        PROJECT,
        STRIKES,
        (
            "webapps/correct.toml",
            "original = \"strikes\"\nvalidation_column = \"reviewed\"\n[[editable]]\ncolumn = \"siz\"\n",
        ),
        ("webapps/other.toml", "original = \"strike\"\n"),
    ]);
    assert!(
        found.iter().any(|p| p.starts_with("webapps/correct.toml:4:10: the original has no column `siz`")),
        "{found:?}"
    );
    assert!(
        found.iter().any(|p| p.starts_with("webapps/correct.toml:2:21: `reviewed` is not an editable column")),
        "{found:?}"
    );
    assert!(
        found.iter().any(|p| p.starts_with("webapps/other.toml:1:12: there is no dataset `strike`: known are strikes")),
        "{found:?}"
    );
}

#[test]
fn two_webapps_on_one_original_are_refused() {
    let found = problems(&[PROJECT, STRIKES, CORRECT, ("webapps/again.toml", CORRECT.1)]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("`strikes` is edited by webapps/again.toml already"), "{found:?}");
}

#[test]
fn a_path_that_leaves_its_folder_is_refused() {
    for path in ["../x.csv", "/etc/passwd", "a/../../b.csv", "a\\b.csv", ""] {
        let text = format!("path = '{path}'\nformat = \"csv\"\n");
        assert_eq!(problems(&[PROJECT, ("datasets/x.toml", &text)]).len(), 1, "{path}");
    }
}

#[test]
fn recipes_that_need_each_other_are_refused_with_their_ring() {
    let found = problems(&[
        PROJECT,
        ("recipes/a.toml", "kind = \"sql\"\ninputs = [\"y\"]\noutput = \"x\"\n"),
        ("recipes/a.sql", "select * from y"),
        ("recipes/b.toml", "kind = \"sql\"\ninputs = [\"x\"]\noutput = \"y\"\n"),
        ("recipes/b.sql", "select * from x"),
    ]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("x → y → x"), "{found:?}");
}

#[test]
fn limits_are_checked_against_the_type_and_written_canonically() {
    let webapp =
        "original = \"strikes\"\n[[editable]]\ncolumn = \"speed\"\ntype = \"integer\"\nmin = 0\nmax = \"many\"\n";
    let found = problems(&[PROJECT, STRIKES, ("webapps/correct.toml", webapp)]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("webapps/correct.toml:6:7: `many` is not a whole number"), "{found:?}");
}

#[test]
fn a_dataset_can_be_a_table_or_a_query_and_an_editlog_can_be_moved_into_a_database() {
    let texts = [
        PROJECT,
        ("datasets/strikes.toml", "connection = \"pg\"\ntable = \"wildlife.strikes\"\nkey = [\"strike_id\"]\n"),
        ("datasets/strikes_editlog.toml", "connection = \"production\"\ntable = \"edit.log\"\n"),
        ("datasets/recent.toml", "connection = \"pg\"\nquery = \"SELECT 1 AS one\"\n"),
        ("datasets/strikes_edited.toml", "connection = \"pg\"\ntable = \"strikes_edited\"\n"),
        ("webapps/correct.toml", "original = \"strikes\"\n[[editable]]\ncolumn = \"size\"\ntype = \"text\"\n"),
    ];
    let project = load(ProjectKey::new("BIRDS").unwrap(), &files(&texts)).unwrap();
    let location = |name: &str| project.datasets[&DatasetName::new(name).unwrap()].location.clone();
    assert!(matches!(location("strikes"), Location::Table { table, .. } if table.to_string() == "wildlife.strikes"));
    assert!(matches!(location("recent"), Location::Query { query, .. } if query == "SELECT 1 AS one"));
    assert!(matches!(location("strikes_edited"), Location::Table { table, .. } if table.schema == "public"));
    assert!(matches!(
        location("strikes_editlog"),
        Location::Editlog { original, table: Some((connection, table)) }
            if original.as_str() == "strikes" && connection == "production" && table.to_string() == "edit.log"
    ));
}

#[test]
fn mistakes_in_the_place_of_a_table_are_told_with_their_line() {
    for (text, expected) in [
        ("table = \"a\"\n", "datasets/more.toml:1:9: `connection` is missing"),
        ("connection = \"pg\"\ntable = \"a.b.c\"\n", "datasets/more.toml:2:9: `a.b.c` is not the name of a table"),
        ("connection = \"pg\"\ntable = \"\"\n", "datasets/more.toml:2:9: `` is not the name of a table"),
        ("connection = \"pg\"\ntable = \"a\"\nquery = \"b\"\n", "there are `table` and `query`"),
        ("connection = \"pg\"\ntable = \"a\"\npath = \"b.csv\"\n", "in a file or in a database"),
        ("connection = \"pg\"\nquery = \" \"\n", "the query is empty"),
    ] {
        let found = problems(&[PROJECT, ("datasets/more.toml", text)]);
        assert!(found.len() == 1 && found[0].contains(expected), "{text}: {found:?}");
    }
    let in_file = ("datasets/strikes_editlog.toml", "path = \"log.csv\"\n");
    let found = problems(&[PROJECT, STRIKES, CORRECT, in_file]);
    assert!(found.len() == 1 && found[0].contains("is the editlog of `strikes`"), "{found:?}");
    let written = [
        PROJECT,
        ("datasets/made.toml", "connection = \"pg\"\nquery = \"SELECT 1\"\n"),
        ("recipes/make.toml", "kind = \"sql\"\noutput = \"made\"\n"),
        ("recipes/make.sql", "SELECT 1 AS one"),
    ];
    let found = problems(&written);
    assert!(
        found.len() == 1 && found[0].contains("recipes/make.toml:2:10: `made` is the result of a query"),
        "{found:?}"
    );
}
