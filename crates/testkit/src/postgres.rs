//! A private PostgreSQL for tests, in a temporary folder, on a port of its own.
//!
//! One cluster serves all test processes that run at the same time, and each test has a database of its own in it:
//! making a cluster takes seconds, making a database takes a tenth of one. Whoever uses the cluster holds a shared lock
//! on a file; a small shell beside the server takes the lock for itself when nobody has held it for a while, stops the
//! server and removes its folder. Locks end with their processes, so nothing that is killed leaves a server behind.
//!
//! PostgreSQL refuses to run as root. For root it is run as `postgres` or `nobody`.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The superuser of the cluster.
pub const SUPERUSER: &str = "stet_test";

/// The superuser's password; connections through the socket need none.
pub const SUPERUSER_PASSWORD: &str = "only for tests";

/// How long a server may take to answer.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How many seconds the shared server outlives its last user.
const IDLE_SECONDS: u32 = 20;

/// A running server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The folder of its socket.
    pub socket: PathBuf,
    /// The folder with its programs (`psql`, `pg_dump`).
    pub programs: PathBuf,
    /// The certificate of the authority that signed the server's; none when this machine has no `openssl`.
    pub authority: Option<PathBuf>,
}

/// A database of its own for a test, removed with all connections to it when it is dropped.
#[derive(Debug)]
pub struct TestDatabase {
    /// Where it is.
    pub server: Server,
    /// Its name.
    pub name: String,
}

/// A server that a test has for itself, to stop and start it. It ends when it is dropped.
#[derive(Debug)]
pub struct PrivateServer {
    /// Where it is, running or not.
    pub server: Server,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl TestDatabase {
    /// Makes an empty database in the shared server.
    pub fn new() -> TestDatabase {
        let server = shared();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("stet_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // One that a killed test with the same process id has left.
        server.sql("postgres", &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        server.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'"));
        TestDatabase { server: server.clone(), name }
    }

    /// Runs statements as the superuser and gives what they answer, a line for each row, `|` between columns.
    pub fn sql(&self, statements: &str) -> String {
        self.server.sql(&self.name, statements)
    }

    /// An address of the database for libpq and for `postgres`, for a user of the cluster.
    pub fn address(&self, user: &str, password: &str) -> String {
        format!("host=127.0.0.1 port={} dbname={} user={user} password='{password}'", self.server.port, self.name)
    }

    /// The superuser's address.
    pub fn superuser(&self) -> String {
        self.address(SUPERUSER, SUPERUSER_PASSWORD)
    }
}

impl Default for TestDatabase {
    fn default() -> Self {
        TestDatabase::new()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // A server that is gone has no databases.
        let _ = self.server.psql("postgres", &statement).output();
    }
}

impl Server {
    /// Runs statements as the superuser in a database and gives what they answer.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        let output = self.psql(database, statements).output().expect("psql runs");
        assert!(output.status.success(), "{statements}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("psql answers in UTF-8").trim_end().to_owned()
    }

    fn psql(&self, database: &str, statements: &str) -> Command {
        let mut command = Command::new(self.programs.join("psql"));
        command
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", SUPERUSER, "-d", database, "-c", statements])
            .arg("-h")
            .arg(&self.socket)
            .args(["-p", &self.port.to_string()])
            .env("PGCLIENTENCODING", "UTF8");
        command
    }

    fn answers(&self) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
            && self.psql("postgres", "SELECT 1").output().is_ok_and(|output| output.status.success())
    }

    fn wait(&self, log: &Path) {
        let started = Instant::now();
        while !self.answers() {
            assert!(
                started.elapsed() < START_TIMEOUT,
                "PostgreSQL does not start: {}",
                fs::read_to_string(log).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl PrivateServer {
    /// Makes a server and starts it.
    pub fn start() -> PrivateServer {
        let folder = tempfile::Builder::new().prefix("stet-pg-").tempdir().expect("a temporary folder");
        let server = prepare(folder.path());
        let mut private = PrivateServer { server, folder, child: None };
        private.resume();
        private
    }

    /// Starts the server again, on the same port.
    pub fn resume(&mut self) {
        let log = self.folder.path().join("log");
        let mut command = postgres(&self.server, self.folder.path());
        let out = File::options().create(true).append(true).open(&log).expect("a log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(out);
        self.child = Some(command.spawn().expect("PostgreSQL starts"));
        self.server.wait(&log);
    }

    /// Stops the server as a power cut would, as far as its clients can tell.
    pub fn crash(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // SIGQUIT ends the server and all its processes at once, without writing anything more.
        let _ = Command::new("kill").args(["-QUIT", &child.id().to_string()]).status();
        let _ = child.wait();
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        self.crash();
    }
}

/// The server that all tests share, started by whoever comes first.
pub fn shared() -> &'static Server {
    static SHARED: OnceLock<(File, Server)> = OnceLock::new();
    &SHARED
        .get_or_init(|| {
            let folder = shared_folder();
            let in_use = open_lock(&folder.join("in-use.lock"));
            in_use.lock_shared().expect("the lock of the test server");
            let starting = open_lock(&folder.join("starting.lock"));
            starting.lock().expect("the lock of the test server");
            // The lock on `in_use` is held until this process ends.
            (in_use, running(&folder))
        })
        .1
}

fn shared_folder() -> PathBuf {
    let user = fs::metadata("/proc/self").map_or(0, |metadata| metadata.uid());
    let folder = std::env::temp_dir().join(format!("stet-test-postgres-{user}"));
    fs::create_dir_all(&folder).expect("a folder for the test server");
    let owner = fs::metadata(&folder).expect("the folder of the test server").uid();
    assert_eq!(owner, user, "{} belongs to somebody else: remove it", folder.display());
    folder
}

fn open_lock(path: &Path) -> File {
    File::options().create(true).truncate(false).read(true).write(true).open(path).expect("a lock file")
}

fn running(folder: &Path) -> Server {
    let state = folder.join("port");
    let place = folder.join("server");
    if let Some(port) = fs::read_to_string(&state).ok().and_then(|text| text.trim().parse().ok()) {
        let server = describe(&place, port);
        if server.answers() {
            return server;
        }
    }
    // What a crash of the machine, or an earlier form of these tests, has left.
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).expect("a folder for the test server");
    let server = prepare(&place);
    let command = postgres(&server, &place);
    let mut words = vec![command.get_program().to_owned()];
    words.extend(command.get_args().map(ToOwned::to_owned));
    let log = place.join("log");
    let out = File::create(&log).expect("a log");
    // Nobody waits for it: it outlives this process, for the tests to come.
    #[allow(clippy::zombie_processes)]
    Command::new("sh")
        .arg("-c")
        .arg(SUPERVISOR)
        .arg("stet-test-postgres")
        .arg(folder)
        .arg(IDLE_SECONDS.to_string())
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(out)
        .current_dir("/")
        // A group of its own: the end of a test, or of all tests, is not the end of the server.
        .process_group(0)
        .spawn()
        .expect("sh runs");
    server.wait(&log);
    fs::write(state, server.port.to_string()).expect("the state of the test server");
    server
}

/// Runs the server, and stops it when nobody has held the lock for a while.
const SUPERVISOR: &str = r#"
folder=$1 idle_max=$2
shift 2
exec 9<>"$folder/in-use.lock"
"$@" 9>&- &
server=$!
idle=0
while kill -0 "$server" 2>/dev/null; do
  sleep 1
  if flock -n -x 9; then
    idle=$((idle + 1))
    [ "$idle" -ge "$idle_max" ] && break
    flock -u 9
  else
    idle=0
  fi
done
kill -INT "$server" 2>/dev/null
wait "$server"
rm -rf "$folder/server" "$folder/port"
"#;

/// Makes the files of a cluster below a folder, and chooses its port.
fn prepare(folder: &Path) -> Server {
    // Free now; another program could take it before PostgreSQL does, which the tests would say.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port();
    let server = describe(folder, port);
    if let Some(user) = server_user() {
        // Others must be able to pass through to what is theirs.
        std::os::unix::fs::chown(folder, Some(user.0), Some(user.1)).expect("root may give a folder away");
    }
    let password = folder.join("password");
    fs::write(&password, SUPERUSER_PASSWORD).expect("a file");
    if let Some(user) = server_user() {
        std::os::unix::fs::chown(&password, Some(user.0), Some(user.1)).expect("root may give a file away");
    }
    let output = as_server_user(&server.programs.join("initdb"))
        .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth-local=trust", "--auth-host=scram-sha-256"])
        .args(["-U", SUPERUSER, "-D"])
        .arg(folder.join("data"))
        .arg(format!("--pwfile={}", password.display()))
        .output()
        .expect("initdb runs");
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    make_certificates(folder);
    describe(folder, port)
}

fn describe(folder: &Path, port: u16) -> Server {
    let authority = folder.join("authority.crt");
    let authority = authority.exists().then_some(authority);
    Server { port, socket: folder.to_owned(), programs: programs(), authority }
}

fn postgres(server: &Server, folder: &Path) -> Command {
    let mut command = as_server_user(&server.programs.join("postgres"));
    command.arg("-D").arg(folder.join("data")).arg("-k").arg(folder);
    let mut settings = vec![
        format!("port={}", server.port),
        "listen_addresses=127.0.0.1".to_owned(),
        "max_connections=300".to_owned(),
        "shared_buffers=64MB".to_owned(),
        "fsync=on".to_owned(),
        "log_checkpoints=off".to_owned(),
    ];
    if server.authority.is_some() {
        settings.push("ssl=on".to_owned());
        settings.push(format!("ssl_cert_file={}", folder.join("server.crt").display()));
        settings.push(format!("ssl_key_file={}", folder.join("server.key").display()));
    }
    for setting in settings {
        command.args(["-c", &setting]);
    }
    command.current_dir("/");
    command
}

/// Makes an authority of the tests' own and a certificate for `localhost` in the folder that is its argument, for `sh -e`.
pub(crate) const CERTIFICATES: &str = r#"
cd "$1" && umask 077
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=Stet tests" \
  -addext basicConstraints=critical,CA:TRUE -keyout authority.key -out authority.new
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -keyout server.key -out server.csr
printf 'subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n' >extensions
openssl x509 -req -in server.csr -CA authority.new -CAkey authority.key -CAcreateserial -days 2 -extfile extensions -out server.crt
mv authority.new authority.crt
"#;

/// A certificate for the server, so that verified connections can be tested.
fn make_certificates(folder: &Path) {
    let mut command = as_server_user(Path::new("sh"));
    // Without openssl there is no encryption, and tests that need it find no authority.
    let _ = command.args(["-e", "-c", CERTIFICATES, "sh"]).arg(folder).output();
}

/// The folder with PostgreSQL's programs: the newest that Debian has installed, or the one in `PATH`.
fn programs() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let bin = entry.path().join("bin");
            let version = entry.file_name().to_str()?.parse().ok()?;
            bin.join("initdb").exists().then_some((version, bin))
        })
        .collect();
    found.sort();
    let in_path = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).find(|folder| folder.join("initdb").exists())
    };
    found.pop().map(|(_, bin)| bin).or_else(in_path).unwrap_or_else(|| {
        panic!("PostgreSQL is missing, which tests need: run scripts/need-postgres, which says how to get it")
    })
}

/// The user and group that the server runs as, when that is not whoever runs the tests.
fn server_user() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").map_or(0, |metadata| metadata.uid()) != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody"))
}

fn as_server_user(program: &Path) -> Command {
    match server_user() {
        None => Command::new(program),
        Some((user, group)) => {
            let mut command = Command::new("setpriv");
            command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).arg("--clear-groups").arg(program);
            command
        }
    }
}
