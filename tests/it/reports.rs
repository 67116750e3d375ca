//! The month's report as the daemon writes it by itself: once, whole, and later if it couldn't be in time.

use std::{fs, path::Path, sync::Arc, time::UNIX_EPOCH};

use chrono::{DateTime, TimeDelta, Utc};
use hallpass::{clock::Clock as _, report::Reports, schedule::Schedule, sweep::Chores};
use tokio::task::JoinHandle;

use crate::support::{
    servers::{Dir, eventually},
    sim::{Sim, alice},
    world::{Wishes, World},
};

/// What a page ends with that is whole.
const END: &str = "This is the end of the report.</footer>";

/// The reports of a broker whose clock is in September 2026: at five, on the first of each month.
fn begin(sim: &Sim, directory: &Path) -> JoinHandle<()> {
    begin_on("0 5 1 * *", sim, directory)
}

fn begin_on(schedule: &str, sim: &Sim, directory: &Path) -> JoinHandle<()> {
    let schedule: Schedule = schedule.parse().unwrap();
    let (broker, clock, stopping) = (sim.broker.clone(), sim.clock.clone(), sim.stopping.clone());
    let chores = Chores { broker, clock, reconcile: Arc::default(), stopping };
    tokio::spawn(Reports { chores, directory: directory.to_owned(), schedule }.run())
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(found) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<_> = found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Lets it be then, and waits for the report; time stands still meanwhile, however long it takes.
async fn written_at(sim: &Sim, time: &str, file: &Path) -> String {
    sim.clock.advance(at(time) - sim.clock.now());
    eventually("the report is there", async || file.exists()).await;
    fs::read_to_string(file).unwrap()
}

async fn end(sim: &Sim, reports: JoinHandle<()>) {
    sim.stopping.cancel();
    reports.await.unwrap();
}

#[tokio::test]
async fn each_month_gets_its_report_when_it_is_over() {
    let (sim, dir) = (Sim::start().await, Dir::new("reports"));
    let directory = dir.join("reports");
    let first = sim.approved("orders-ro").await;
    // More than are read at a time.
    for _ in 0..200 {
        let id = sim.submit("payroll-ro").await.request.id;
        sim.broker.withdraw(&alice(), id).await.unwrap();
    }
    let reports = begin(&sim, &directory);
    eventually("August's is there", async || directory.join("hallpass-2026-08.html").exists()).await;
    sim.clock.advance(at("2026-10-01T04:59:59Z") - sim.clock.now());
    let page = written_at(&sim, "2026-10-01T05:00:00Z", &directory.join("hallpass-2026-09.html")).await;
    assert!(page.contains("made 2026-10-01 05:00:00 from hallpass's record"), "{page}");
    assert!(page.contains("<title>Exceptions of 2026-09</title>"), "{page}");
    assert!(
        page.contains(&format!("<h2>exceptions/{first}</h2>")) && page.contains("order 4711 is stuck"),
        "{page}"
    );
    assert!(page.contains("RequestApproved") && page.contains(&format!("201 exceptions. {END}")));
    let later = sim.submit("orders-ro").await.request.id;
    let page = written_at(&sim, "2026-11-01T05:00:00Z", &directory.join("hallpass-2026-10.html")).await;
    assert!(page.contains(&later.to_string()) && !page.contains(&first.to_string()), "each in its month");
    assert_eq!(
        names(&directory),
        ["hallpass-2026-08.html", "hallpass-2026-09.html", "hallpass-2026-10.html"]
    );
    end(&sim, reports).await;
}

/// What was asked in the last hours of a month goes on in the first of the next.
#[tokio::test]
async fn no_start_writes_it_before_its_time() {
    let (sim, dir) = (Sim::start().await, Dir::new("reports"));
    sim.clock.advance(at("2026-10-01T00:00:01Z") - sim.clock.now());
    let reports = begin(&sim, &dir.join(""));
    // Long enough for whoever would begin at once.
    let others = Dir::new("reports");
    let eager = begin_on("0 0 1 * *", &sim, &others.join(""));
    eventually("the other is there", async || others.join("hallpass-2026-09.html").exists()).await;
    let page = written_at(&sim, "2026-10-01T05:00:00Z", &dir.join("hallpass-2026-09.html")).await;
    assert!(page.contains("made 2026-10-01 05:00:00"), "{page}");
    assert_eq!(names(&dir.join("")), ["hallpass-2026-09.html"]);
    end(&sim, reports).await;
    eager.await.unwrap();
}

#[tokio::test]
async fn a_report_that_is_there_stays_as_it_was() {
    let (sim, dir) = (Sim::start().await, Dir::new("reports"));
    fs::write(dir.join("hallpass-2026-08.html"), "handed over").unwrap();
    let reports = begin(&sim, &dir.join(""));
    written_at(&sim, "2026-10-01T05:00:00Z", &dir.join("hallpass-2026-09.html")).await;
    assert_eq!(fs::read_to_string(dir.join("hallpass-2026-08.html")).unwrap(), "handed over");
    end(&sim, reports).await;
}

#[tokio::test]
async fn what_could_not_be_written_is_written_later_and_nothing_half_is_left() {
    let (sim, dir) = (Sim::start().await, Dir::new("reports"));
    let directory = dir.join("not yet/reports");
    let reports = begin(&sim, &directory);
    let begun = sim.clock.now();
    let passed = eventually("it was tried", async || sim.clock.now() - begun > TimeDelta::hours(12));
    sim.as_time_goes_by(TimeDelta::minutes(30), passed).await;
    fs::create_dir(dir.join("not yet")).unwrap();
    let file = directory.join("hallpass-2026-08.html");
    let written = eventually("the report is there", async || file.exists());
    sim.as_time_goes_by(TimeDelta::minutes(1), written).await;
    let page = fs::read_to_string(&file).unwrap();
    assert!(page.contains(&format!("0 exceptions. {END}")), "{page}");
    assert_eq!(names(&directory), ["hallpass-2026-08.html"]);
    end(&sim, reports).await;
}

#[tokio::test]
async fn the_daemon_writes_the_last_months_at_its_start() {
    let dir = Dir::new("reports");
    let more = format!("[report]\ndirectory = {:?}\nschedule = \"0 0 1 * *\"\n", dir.join("reports"));
    let world = World::with(Wishes { more, ..Wishes::default() }).await;
    eventually("the report is there", async || {
        names(&dir.join("reports")).iter().any(|name| name.starts_with("hallpass-"))
    })
    .await;
    let [name] = names(&dir.join("reports")).try_into().unwrap();
    let page = fs::read_to_string(dir.join("reports").join(&name)).unwrap();
    assert!(page.ends_with(&format!("<footer>0 exceptions. {END}\n</body>\n</html>\n")), "{page}");
    let told = || world.log().contains("\"event.action\":\"report-written\"");
    eventually("it is told of", async || told()).await;
    let now = DateTime::<Utc>::from(UNIX_EPOCH + UNIX_EPOCH.elapsed().unwrap());
    assert_ne!(name, format!("hallpass-{}.html", now.format("%Y-%m")), "this month isn't over");
}
