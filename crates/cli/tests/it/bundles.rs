//! From a design node to an automation node, with the commands that people type.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Node, PASSWORD, Run, run};

pub const ITEMS: &str = "id,name,amount\na,Ann,1\nb,Bob,2\nc,Cyd,\n";

/// A design node with the project `T`, an automation node that trusts it, and two approvers with keys of their own.
pub struct Landscape {
    pub design: Node,
    pub production: Node,
    /// The approvers' machine.
    pub desk: tempfile::TempDir,
}

impl Landscape {
    pub fn new(policy: &str) -> Landscape {
        let design = Node::with_items(ITEMS);
        let production = Node { folder: tempfile::tempdir().unwrap() };
        let init = ["init", "--name", "Production", "--role", "automation", "--admin", "ada"];
        production.run_with_input(&init, &format!("{PASSWORD}\n")).ok();
        production.write("data/T/items.csv", ITEMS);
        let landscape = Landscape { design, production, desk: tempfile::tempdir().unwrap() };
        let trusted = landscape.design.run(&["bundle", "key"]).ok();
        let mut config = std::fs::read_to_string(landscape.production.file("stet.toml")).unwrap();
        config.push_str(policy);
        config.push_str(&format!("\n[[deploy.trusted]]\nname = \"Design\"\nkey = \"{}\"\n", trusted.trim()));
        for person in ["quinn", "olga"] {
            let key = landscape.keygen(person);
            config.push_str(&format!(
                "\n[[deploy.approvers]]\nlogin = \"{person}\"\nkey = \"{key}\"\ngroups = [\"quality\"]\n"
            ));
        }
        landscape.production.write("stet.toml", &config);
        landscape
    }

    pub fn keygen(&self, person: &str) -> String {
        let file = self.desk.path().join(format!("{person}.key"));
        run(&["bundle", "keygen", "--output", text(&file), "--name", person]).ok().trim().to_owned()
    }

    pub fn bundle(&self, name: &str, more: &[&str]) -> PathBuf {
        let file = self.desk.path().join(name);
        self.design.run(&[&["bundle", "create", "T", "--output", text(&file)], more].concat()).ok();
        file
    }

    pub fn approve(&self, bundle: &Path, person: &str, more: &[&str]) -> PathBuf {
        let key = self.desk.path().join(format!("{person}.key"));
        let words =
            ["bundle", "approve", text(bundle), "--key", text(&key), "--target", "Production", "--format", "json"];
        run(&[&words[..], more].concat()).json()["path"].as_str().unwrap().into()
    }

    /// Brings a bundle with approvals of both to production and activates it.
    fn activate(&self, bundle: &Path) -> Run {
        let quinn = self.approve(bundle, "quinn", &["--feedback", "approve"]);
        let olga = self.approve(bundle, "olga", &["--feedback", "minor", "--comment", "a remark"]);
        let words = ["deploy", "activate", text(bundle), "--approval", text(&quinn), "--approval", text(&olga)];
        self.production.run(&[&words[..], &["--format", "json"]].concat())
    }

    fn status(&self) -> Value {
        let run = self.production.run(&["deploy", "status", "T", "--format", "json"]);
        serde_json::from_str::<Value>(&run.stdout).unwrap()["projects"][0].clone()
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub const TWO: &str = "[deploy.approval]\npersons_min = 2\ngroups = { quality = 1 }\n";

#[test]
fn the_same_state_of_a_project_gives_the_same_bytes_and_nothing_but_its_definition() {
    let node = Node::with_items(ITEMS);
    node.write("projects/T/local.toml", "[variables]\nsecret = \"hush\"\n");
    node.write("projects/T/README.md", "notes");
    let made = |file: &str| {
        let file = node.file(file);
        let told = node.run(&["bundle", "create", "T", "--output", text(&file), "--format", "json"]).json();
        (told, std::fs::read(file).unwrap())
    };
    let (first, bytes) = made("one.bundle");
    let (again, same) = made("two.bundle");
    assert_eq!((&first["digest"], &bytes), (&again["digest"], &same));
    assert_eq!(first["manifest"]["sequence"], 1);
    let files: Vec<&str> =
        first["manifest"]["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(
        files,
        [
            "project/datasets/items.toml",
            "project/project.toml",
            "project/recipes/sum_up.sql",
            "project/recipes/sum_up.toml",
            "project/webapps/fix.toml"
        ]
    );
    assert!(!String::from_utf8_lossy(&bytes).contains("hush"));
    // Any program that reads tar archives reads it.
    let listed = Command::new("tar").arg("-tf").arg(node.file("one.bundle")).output().unwrap();
    assert!(listed.status.success());
    assert!(String::from_utf8(listed.stdout).unwrap().starts_with("manifest.json\nsignatures.json\nproject/"));

    node.write("projects/T/recipes/sum_up.sql", "SELECT count(*) AS items FROM items_edited\n");
    let (changed, _) = made("three.bundle");
    assert_eq!(changed["manifest"]["sequence"], 2);
    let diff = node.run(&["bundle", "diff", text(&node.file("one.bundle")), text(&node.file("three.bundle"))]).ok();
    assert!(
        diff.contains("changed recipe sum_up") && diff.contains("+SELECT count(*) AS items FROM items_edited"),
        "{diff}"
    );
}

#[test]
fn data_travels_only_when_asked_for_and_never_edits() {
    let node = Node::with_items(ITEMS);
    let told = node.run(&["bundle", "create", "T", "--with-data", "items", "--format", "json"]).json();
    assert_eq!(told["manifest"]["data"], json!(["items"]));
    assert!(told["manifest"]["files"].as_array().unwrap().iter().any(|file| file["path"] == "data/items.csv"));
    for (dataset, reason) in
        [("items_editlog", "is an editlog"), ("items_edited", "made of edits"), ("totals", "made of edits")]
    {
        let stderr = node.run(&["bundle", "create", "T", "--with-data", dataset]).fails(2);
        assert!(stderr.contains(reason), "{stderr}");
    }
}

#[test]
fn a_bundle_needs_a_trusted_signature_the_right_target_and_to_be_in_time() {
    let landscape = Landscape::new(TWO);
    let bundle = landscape.bundle("good.bundle", &[]);
    let verify = |bundle: &Path| landscape.production.run(&["bundle", "verify", text(bundle)]);
    assert!(verify(&bundle).ok().contains("signed by Design"));

    let mut bytes = std::fs::read(&bundle).unwrap();
    let place = bytes.windows(7).position(|window| window == b"Ann,1\nb").unwrap_or(bytes.len() - 1600);
    bytes[place] ^= 1;
    let changed = landscape.desk.path().join("changed.bundle");
    std::fs::write(&changed, bytes).unwrap();
    let refused = verify(&changed);
    assert!(
        refused.code == 1 && refused.stderr.contains("this is not a bundle that can be used"),
        "{} {}",
        refused.stdout,
        refused.stderr
    );

    let stranger = Node::with_items(ITEMS);
    let foreign = landscape.desk.path().join("foreign.bundle");
    stranger.run(&["bundle", "create", "T", "--output", text(&foreign)]).ok();
    assert!(verify(&foreign).fails(1).contains("a key that this node trusts"));
    landscape.production.run(&["deploy", "activate", text(&foreign)]).fails(1);

    let elsewhere = landscape.bundle("elsewhere.bundle", &["--target", "Somewhere"]);
    assert!(verify(&elsewhere).fails(1).contains("is meant for Somewhere"));
    let late = landscape.bundle("late.bundle", &["--expires", "2020-01-01"]);
    assert!(verify(&late).fails(1).contains("expired"));
    assert!(!landscape.production.file("projects/T").exists(), "nothing was written");
    let told = landscape.production.run(&["deploy", "history", "T", "--format", "json"]).json();
    assert!(told["events"].as_array().unwrap().iter().any(|event| event["kind"] == "refused"), "{told}");
}

#[test]
fn without_the_approvals_that_the_policy_asks_for_nothing_is_activated() {
    let landscape = Landscape::new(TWO);
    let bundle = landscape.bundle("one.bundle", &[]);
    let stderr = landscape.production.run(&["deploy", "activate", text(&bundle)]).fails(1);
    assert!(stderr.contains("0 of 2 approvals"), "{stderr}");
    let quinn = landscape.approve(&bundle, "quinn", &["--feedback", "approve"]);
    let activate = |bundle: &Path, approval: &Path| {
        landscape.production.run(&["deploy", "activate", text(bundle), "--approval", text(approval)])
    };
    assert!(activate(&bundle, &quinn).fails(1).contains("1 of 2 approvals"));
    // Somebody whose key the node does not know, under the name of one whom it knows.
    std::fs::rename(landscape.desk.path().join("olga.key"), landscape.desk.path().join("kept.key")).unwrap();
    landscape.keygen("olga");
    let forged = landscape.approve(&bundle, "olga", &["--feedback", "approve"]);
    assert!(activate(&bundle, &forged).fails(1).contains("not signed by the key of olga"));
    std::fs::rename(landscape.desk.path().join("kept.key"), landscape.desk.path().join("olga.key")).unwrap();
    // An objection stops it, until it is taken back.
    let against = landscape.approve(&bundle, "olga", &["--feedback", "major", "--comment", "wrong column"]);
    assert!(activate(&bundle, &against).fails(1).contains("olga found a major issue: wrong column"));
    landscape.activate(&bundle).ok();
    // A change voids all approvals.
    landscape.design.write("projects/T/recipes/sum_up.sql", "SELECT 1 AS n");
    let next = landscape.bundle("two.bundle", &[]);
    assert!(activate(&next, &quinn).fails(1).contains("the approval of quinn is for another bundle"));
    assert!(landscape.production.run(&["deploy", "activate", text(&next)]).fails(1).contains("0 of 2 approvals"));
    let warning = Landscape::new("[deploy.approval]\nmode = \"warn\"\npersons_min = 2\n");
    let bundle = warning.bundle("one.bundle", &[]);
    assert!(warning.production.run(&["deploy", "activate", text(&bundle)]).ok().contains("Activated"));
    let status = warning.status();
    assert_eq!(status["health"], "warning");
    assert!(status["reasons"][0].as_str().unwrap().contains("is not approved"), "{status}");
}

#[tokio::test]
async fn a_project_goes_to_production_is_updated_and_rolled_back_and_no_edit_is_lost_or_mixed() {
    let landscape = Landscape::new(TWO);
    let Landscape { design, production, .. } = &landscape;
    {
        let server = design.serve();
        let client = server.client(&design.token());
        assert_eq!(client.set("a", "name", json!("design edit")).await["status"], "saved");
    }
    let first = landscape.bundle("one.bundle", &["--notes", "first release"]);
    let plan = production.run(&["deploy", "plan", text(&first), "--format", "json"]);
    assert_eq!(plan.code, 1, "{}", plan.stderr);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(plan["editlogs_to_initialise"], json!(["items"]));
    assert_eq!(plan["webapps"], json!([{ "name": "fix", "effect": "start" }]));
    landscape.activate(&first).ok();
    assert_eq!(landscape.status()["deployed"]["approved_by"], json!(["olga", "quinn"]));
    let served = |edits: &'static [(&'static str, &'static str)]| async move {
        let server = production.serve();
        let client = server.client(&production.token());
        for (key, value) in edits {
            assert_eq!(client.set(key, "name", json!(value)).await["status"], "saved");
        }
    };
    served(&[("b", "production edit"), ("c", "another")]).await;
    let values = || {
        let told = production.run(&["editlog", "history", "T.items", "--format", "json"]).json();
        let values: Vec<String> = told["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["value"].as_str().unwrap().to_owned())
            .collect();
        values
    };
    assert_eq!(values(), ["another", "production edit"]);
    assert_eq!(landscape.status()["health"], "healthy", "{}", landscape.status());

    // An update takes a column away from those that can be edited; the plan tells which edits that concerns.
    design.write("projects/T/webapps/fix.toml", "original = \"items\"\n\n[[editable]]\ncolumn = \"amount\"\n");
    production.write("projects/T/datasets/mine.toml", "path = \"items.csv\"\n");
    production.write("projects/T/notes.txt", "made here");
    let second = landscape.bundle("two.bundle", &["--notes", "second release"]);
    let plan = production.run(&["deploy", "plan", text(&second), "--rows", "--format", "json"]).stdout;
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!((&plan["edits"][0]["events"], &plan["edits"][0]["not_editable"]), (&json!(2), &json!(2)));
    assert_eq!(plan["edits"][0]["rows"][0]["key"], "b");
    let printed = production.run(&["deploy", "plan", text(&second), "--rows"]).stdout;
    for line in [
        "    items, event 1, b, name: production edit (not editable)\n",
        "    items, event 2, c, name: another (not editable)\n",
    ] {
        assert!(printed.contains(line), "{printed}");
    }
    let without = production.run(&["deploy", "plan", text(&second)]).stdout;
    assert!(without.contains("2 not editable") && !without.contains("production edit"), "{without}");
    landscape.activate(&second).ok();
    assert!(
        production.file("projects/T/datasets/mine.toml").exists() && production.file("projects/T/notes.txt").exists()
    );
    assert_eq!(values().len(), 2);

    // Older than what is deployed: only as a rollback, which needs no new approval.
    assert!(production.run(&["deploy", "activate", text(&first)]).fails(1).contains("use `stet deploy rollback`"));
    production.run(&["deploy", "rollback", "T"]).ok();
    let webapp = std::fs::read_to_string(production.file("projects/T/webapps/fix.toml")).unwrap();
    assert!(webapp.contains("column = \"name\""), "{webapp}");
    assert!(production.file("projects/T/datasets/mine.toml").exists());
    served(&[("a", "after the rollback")]).await;
    assert_eq!(values(), ["after the rollback", "another", "production edit"]);
    let told = production.run(&["deploy", "history", "T", "--format", "json"]).json();
    let kinds: Vec<&str> =
        told["deployments"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["rollback", "activate", "activate"]);
    let design_log = design.run(&["editlog", "history", "T.items", "--format", "json"]).json();
    assert_eq!(design_log["events"].as_array().unwrap().len(), 1);

    // Files that somebody broke here hide no edit from a plan.
    production.write("projects/T/webapps/fix.toml", "original = \"nothing\"\n");
    let digest = run(&["bundle", "inspect", text(&second), "--format", "json"]).json()["digest"].clone();
    let back = ["deploy", "rollback", "T", "--to", digest.as_str().unwrap(), "--plan", "--format", "json"];
    let plan = production.run(&back).json();
    assert_eq!((&plan["edits"][0]["events"], &plan["edits"][0]["not_editable"]), (&json!(3), &json!(3)), "{plan}");
    assert_eq!(plan["webapps"], json!([{ "name": "fix", "effect": "restart" }]));
    assert_eq!(landscape.status()["health"], "unhealthy");
    production.run(&back[..5]).ok();
    let status = landscape.status();
    assert_eq!(status["drift"], json!([]));
    // What was mended by it is no warning any more; what is lost with it is.
    let reasons: Vec<&str> = status["reasons"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    assert_eq!(
        reasons,
        [
            "with this bundle 3 of 3 logged edits of `items` no longer apply (3 of columns that are no longer editable); they \
             stay in the log"
        ]
    );
}

#[test]
fn what_is_changed_on_the_automation_node_is_told_item_by_item_and_mended_by_activating_again() {
    let landscape = Landscape::new("[deploy.approval]\npersons_min = 0\n");
    let bundle = landscape.bundle("one.bundle", &[]);
    landscape.production.run(&["deploy", "activate", text(&bundle)]).ok();
    landscape.production.write("projects/T/recipes/sum_up.sql", "SELECT 'slipped in' AS n");
    std::fs::remove_file(landscape.production.file("projects/T/webapps/fix.toml")).unwrap();
    let run = landscape.production.run(&["deploy", "status", "T"]);
    assert!(
        run.stdout.contains("unhealthy") && run.stdout.contains("`recipes/sum_up.sql` was changed"),
        "{}",
        run.stdout
    );
    assert_eq!(run.code, 1);
    let drift = json!([
        { "file": "recipes/sum_up.sql", "change": "changed" }, { "file": "webapps/fix.toml", "change": "removed" }
    ]);
    assert_eq!(landscape.status()["drift"], drift);
    landscape.production.run(&["deploy", "activate", text(&bundle)]).ok();
    assert_eq!(landscape.status()["drift"], json!([]));
}

#[test]
fn a_file_made_here_is_not_overwritten_by_a_bundle() {
    let landscape = Landscape::new("[deploy.approval]\npersons_min = 0\n");
    landscape.production.write("projects/T/datasets/items.toml", "path = \"other.csv\"\n");
    let bundle = landscape.bundle("one.bundle", &[]);
    let stderr = landscape.production.run(&["deploy", "activate", text(&bundle)]).fails(1);
    assert!(stderr.contains("`datasets/items.toml` was made on this node"), "{stderr}");
    assert!(!landscape.production.file("projects/T/project.toml").exists());
}

#[test]
fn a_connection_that_is_missing_or_of_another_kind_prevents_an_activation() {
    let landscape = Landscape::new("[deploy.approval]\npersons_min = 0\n");
    let folder = landscape.design.file("elsewhere");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("items.csv"), ITEMS).unwrap();
    let config = std::fs::read_to_string(landscape.design.file("stet.toml")).unwrap();
    landscape
        .design
        .write("stet.toml", &format!("{config}\n[connections.warehouse]\nkind = \"files\"\npath = \"elsewhere\"\n"));
    let dataset = std::fs::read_to_string(landscape.design.file("projects/T/datasets/items.toml")).unwrap();
    landscape.design.write("projects/T/datasets/items.toml", &format!("connection = \"warehouse\"\n{dataset}"));
    let bundle = landscape.bundle("one.bundle", &[]);
    let stderr = landscape.production.run(&["deploy", "activate", text(&bundle)]).fails(1);
    assert!(stderr.contains("no connection `warehouse` of kind `files`"), "{stderr}");
    let config = std::fs::read_to_string(landscape.production.file("stet.toml")).unwrap();
    let other = "[connections.warehouse]\nkind = \"postgresql\"\nhost = \"127.0.0.1\"\nport = 1\ndatabase = \"x\"\nuser = \"x\"\n";
    landscape.production.write("stet.toml", &format!("{config}\n{other}"));
    let stderr = landscape.production.run(&["deploy", "activate", text(&bundle)]).fails(1);
    assert!(
        stderr.contains("is of kind `postgresql` here and of kind `files` on Test: they have to be of the same kind"),
        "{stderr}"
    );
    assert!(!landscape.production.file("projects/T").exists(), "nothing was written");
}

#[test]
fn an_activation_that_is_killed_has_happened_or_has_not() {
    let landscape = Landscape::new("[deploy.approval]\npersons_min = 0\n");
    let Landscape { design, production, .. } = &landscape;
    let first = landscape.bundle("first.bundle", &[]);
    production.run(&["deploy", "activate", text(&first)]).ok();
    let old = std::fs::read_to_string(production.file("projects/T/recipes/sum_up.sql")).unwrap();
    let mut outcomes = [0, 0];
    for round in 0..12u64 {
        let query = format!("SELECT {round} AS n");
        design.write("projects/T/recipes/sum_up.sql", &query);
        design.write("projects/T/project.toml", &format!("name = \"Round {round}\"\n"));
        let bundle = landscape.bundle("next.bundle", &[]);
        let digest = run(&["bundle", "inspect", text(&bundle), "--format", "json"]).json()["digest"]
            .as_str()
            .unwrap()
            .to_owned();
        let mut child = production.command(&["deploy", "activate", text(&bundle)]).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(round * 9));
        let _ = child.kill();
        child.wait().unwrap();
        let status = landscape.status();
        let now = std::fs::read_to_string(production.file("projects/T/recipes/sum_up.sql")).unwrap();
        let name = std::fs::read_to_string(production.file("projects/T/project.toml")).unwrap();
        let happened = format!("sha256:{}", status["deployed"]["digest"].as_str().unwrap()) == digest;
        assert_eq!(happened, now == query, "round {round}: {status}");
        assert_eq!(happened, name.contains(&format!("Round {round}")), "round {round}");
        assert_eq!(status["drift"], json!([]), "round {round}");
        outcomes[usize::from(happened)] += 1;
        // Nothing is left in the way of the next one.
        production.run(&["deploy", "activate", text(&bundle)]);
        assert_eq!(std::fs::read_to_string(production.file("projects/T/recipes/sum_up.sql")).unwrap(), query);
    }
    assert_ne!(old, "");
    assert!(outcomes[0] > 0, "no kill came before the end: {outcomes:?}");
}

#[tokio::test]
async fn no_node_writes_into_the_editlog_of_another_and_production_is_reset_before_the_first_edit_only() {
    let landscape = Landscape::new("[deploy.approval]\npersons_min = 0\n");
    let Landscape { design, production, .. } = &landscape;
    {
        let server = design.serve();
        assert_eq!(server.client(&design.token()).set("a", "name", json!("x")).await["status"], "saved");
    }
    let bundle = landscape.bundle("one.bundle", &[]);
    production.run(&["deploy", "activate", text(&bundle)]).ok();
    std::fs::copy(design.file("data/T/editlog.sqlite"), production.file("data/T/editlog.sqlite")).unwrap();
    let stderr = production.run(&["editlog", "history", "T.items"]).fails(2);
    assert!(stderr.contains("belong to the node `Test`"), "{stderr}");
    production.run(&["build", "T.items_edited"]).fails(1);
    std::fs::remove_file(production.file("data/T/editlog.sqlite")).unwrap();

    // Before the first edit a reset makes the editlog, and a scenario does the same.
    production.run(&["editlog", "reset", "T.items", "--yes"]).ok();
    production.run(&["scenario", "run", "T.reset_edits_items"]).ok();
    {
        let server = production.serve();
        assert_eq!(server.client(&production.token()).set("a", "name", json!("kept")).await["status"], "saved");
        assert!(production.run(&["editlog", "reset", "T.items", "--yes"]).fails(2).contains("is served already"));
    }
    assert!(production.run(&["editlog", "reset", "T.items", "--yes"]).fails(1).contains("never reset"));
    assert!(production.run(&["scenario", "run", "T.reset_edits_items"]).fails(1).contains("never reset"));
    assert!(design.run(&["editlog", "reset", "T.items"]).fails(2).contains("--yes"));
    assert!(design.run(&["editlog", "reset", "T.items", "--yes"]).ok().contains("1 events are gone"));
}

#[test]
fn the_scenarios_of_a_webapp_build_and_are_remembered_with_their_log() {
    let node = Node::with_items(ITEMS);
    let told = node.run(&["scenario", "run", "T.commit_edits_items", "--format", "json"]).json();
    assert_eq!((&told["run"]["state"], &told["run"]["steps"]["done"]), (&json!("done"), &json!(2)));
    assert!(node.file("data/T/items_edited.parquet").exists());
    node.write("projects/T/scenarios/nightly.toml", "[[step]]\nkind = \"scenario\"\nscenario = \"commit_edits_items\"\n\n[[step]]\nkind = \"build\"\ndataset = \"totals\"\n");
    node.run(&["scenario", "run", "T.nightly"]).ok();
    node.write("projects/T/recipes/sum_up.sql", "SELECT nonsense FROM items_edited");
    assert!(node.run(&["scenario", "run", "T.nightly"]).fails(1).contains("nonsense"));
    let runs = node.run(&["scenario", "history", "T", "--format", "json"]).json();
    let states: Vec<&str> = runs["runs"].as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["failed", "done", "done"]);
    node.write("projects/T/scenarios/nightly.toml", "[[step]]\nkind = \"scenario\"\nscenario = \"nightly\"\n");
    assert!(node.run(&["check"]).fails(1).contains("run each other without end"));
    node.write("projects/T/scenarios/nightly.toml", "[[step]]\nkind = \"build\"\ndataset = \"items\"\n");
    assert!(node.run(&["check"]).fails(1).contains("scenarios/nightly.toml:3:11: `items` cannot be built"));
}
