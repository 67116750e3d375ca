//! A month's report, as the client writes it from the real daemon.

use std::fs;

use chrono::DateTime;
use hallpass::wire::Request;

use crate::{
    listing::three,
    support::{shell::Shell, world::World},
};

fn month(request: &Request) -> String {
    let at = DateTime::from_timestamp(request.submitted_at.unwrap().seconds, 0).unwrap();
    at.format("%Y-%m").to_string()
}

#[tokio::test]
async fn a_month_is_one_page_with_all_that_happened() {
    let world = World::start().await;
    let [held, denied, waiting] = three(&world).await;
    let audrey = Shell::log_in(&world, "audrey");
    let file = world.dir.join("report.html");
    let name = file.to_str().unwrap();
    let report = ["audit", "report", "--month", &month(&held), "--file", name];
    audrey.ok(&report);
    let page = fs::read_to_string(&file).unwrap();
    let all = [&held, &denied, &waiting];
    // A month may have ended meanwhile.
    let of_it: Vec<&Request> = all.into_iter().filter(|request| month(request) == month(&held)).collect();
    for request in &of_it {
        assert!(
            page.contains(&format!("<h2>{}</h2>", request.name.replace("requests/", "exceptions/"))),
            "{page}"
        );
    }
    for told in [
        "the Queue is stuck",
        "Read only, as discussed.",
        "=HYPERLINK(&quot;http://evil.example/&quot;&amp;A1)",
        "lease lookup: invalid lease",
        "GrantRevoked",
        "1 granted",
    ] {
        assert!(page.contains(told), "{told} in {page}");
    }
    assert!(page.contains(&format!("{} exceptions. This is the end of the report.", of_it.len())), "{page}");
    for elsewhere in ["<script", "src=", "href="] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    assert!(page.ends_with("</html>\n"));

    let (code, said) = audrey.fails(&report);
    assert!(code == 2 && said.contains("is there already"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), page, "nothing is written over");
    audrey.ok(&["audit", "report", "--month", "2001-01", "--file", name, "--force"]);
    assert!(fs::read_to_string(&file).unwrap().contains("0 exceptions. This is the end"));
    let (code, said) = audrey.fails(&["audit", "report", "--month", "2026-13"]);
    assert!(code == 2 && said.contains("2026-10"), "{said}");
}
