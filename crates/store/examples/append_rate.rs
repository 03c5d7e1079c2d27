//! Measures durable appends per second on a disk: `cargo run --release -p stet-store --example append_rate [FOLDER]`; or
//! into a PostgreSQL database, with the sealer running beside (`signed`) or not, when a connection URL stands in the place
//! of the folder. Schemas `rate_…` are made there.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use stet_domain::{Action, ClientEventId, DatasetName, Key, Login, NewEvent, Source};
use stet_editlog::SignerKey;
use stet_store::postgres::PasswordPlace;
use stet_store::{Append, EditlogSettings, EditlogTables, Editlogs, Expected, Postgres, PostgresConfig, Sealing};
use uuid::Uuid;

const MEASURED: Duration = Duration::from_secs(4);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let first = std::env::args().nth(1);
    let database = match first.as_deref().filter(|first| first.starts_with("postgres")) {
        Some(url) => {
            let (config, password) = PostgresConfig::from_url("rate", url)?;
            let file = tempfile::NamedTempFile::new()?;
            std::fs::write(&file, password.unwrap_or_default())?;
            let password = PasswordPlace::File(file.path().to_owned());
            Some((Postgres::new(PostgresConfig { password, ..config }), file))
        }
        None => None,
    };
    let folder = first.filter(|_| database.is_none()).map_or_else(|| PathBuf::from("."), PathBuf::from);
    let folder = tempfile::tempdir_in(folder)?;
    let mut out = std::io::stdout();
    writeln!(out, "clients  signed  appends/s  commits/s   median ms      99 % ms")?;
    for (clients, signed) in [1, 16, 64].into_iter().flat_map(|clients| [(clients, false), (clients, true)]) {
        let path = folder.path().join(format!("{clients}-{signed}.sqlite"));
        let editlogs = match &database {
            Some((postgres, _)) => {
                let tables = EditlogTables { schema: format!("rate_{clients}_{signed}"), table: None };
                Editlogs::open_postgres(postgres, tables, settings(signed)?)?
            }
            None => Editlogs::open_sqlite(&path, settings(signed)?)?,
        };
        let log = editlogs.initialise(&DatasetName::new("strikes")?).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = tokio::task::JoinSet::new();
        let started = Instant::now();
        for client in 0..clients {
            let (log, stop) = (log.clone(), Arc::clone(&stop));
            tasks.spawn(async move {
                let mut times = Vec::new();
                let mut n = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let event = edit(client, n)?;
                    let sent = Instant::now();
                    log.append(Append { atomic: true, events: vec![(event, Expected::Seen(None))] }).await?;
                    times.push(sent.elapsed());
                    n += 1;
                }
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(times)
            });
        }
        tokio::time::sleep(MEASURED).await;
        stop.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        while let Some(done) = tasks.join_next().await {
            times.extend(done??);
        }
        let seconds = started.elapsed().as_secs_f64();
        times.sort_unstable();
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1000.0;
        writeln!(
            out,
            "{clients:7} {signed:>7} {:10.0} {:10.0} {:11.2} {:12.2}",
            times.len() as f64 / seconds,
            editlogs.stats().commits as f64 / seconds,
            at(0.5),
            at(0.99)
        )?;
    }

    if database.is_some() {
        return Ok(());
    }
    // An import: whole requests of many events, then a scan as for a build.
    let path = folder.path().join("import.sqlite");
    let editlogs = Editlogs::open_sqlite(&path, settings(true)?)?;
    let log = editlogs.initialise(&DatasetName::new("strikes")?).await?;
    let started = Instant::now();
    for request in 0..20 {
        let events = (0..10_000).map(|n| Ok((edit(request, n)?, Expected::Any)));
        let events = events.collect::<Result<Vec<_>, Box<dyn std::error::Error + Send + Sync>>>()?;
        log.append(Append { atomic: true, events }).await?;
    }
    writeln!(out, "import: {:.0} events/s", 200_000.0 / started.elapsed().as_secs_f64())?;
    let started = Instant::now();
    let mut events = 0_u64;
    log.reader()?.scan(None, None, &mut |_| {
        events += 1;
        std::ops::ControlFlow::Continue(())
    })?;
    writeln!(out, "scan: {:.0} events/s", events as f64 / started.elapsed().as_secs_f64())?;
    Ok(())
}

/// Leaves are always kept; `signed` logs have checkpoints too, as those of a node.
fn settings(signed: bool) -> Result<EditlogSettings, Box<dyn std::error::Error + Send + Sync>> {
    let signer = Arc::new(SignerKey::from_seed("rate.example", &[7; 32])?);
    let sealing = signed.then(|| Sealing { signer, origin_prefix: "rate.example/T".to_owned() });
    Ok(EditlogSettings { sealing, ..EditlogSettings::default() })
}

fn edit(client: u64, n: u64) -> Result<NewEvent, stet_domain::NameError> {
    Ok(NewEvent {
        user: Login::new("ada")?,
        action: Action::Update,
        key: Key::from_text(format!("{client}-{n}")),
        column_name: Some("species".to_owned()),
        value: Some("European starling".to_owned()),
        previous: Some("Unknown bird - small".to_owned()),
        batch_id: Uuid::new_v4(),
        source: Source::Grid,
        reason: None,
        event_id: ClientEventId(Uuid::new_v4()),
    })
}
