//! Page after page of a list, up to a limit.

use super::error::Failure;

/// What the server gives in one page at most.
const PAGE_SIZE_MAX: u32 = 200;

/// Fetches pages until there is no more, or `limit` is reached, and hands each on as it comes; says whether more was left.
/// A page may be empty while the search goes on, as long as it gets further.
///
/// # Errors
///
/// If a page can't be had or handed on, or the pages lead nowhere.
pub async fn each_page<T>(
    limit: Option<u32>,
    mut fetch: impl AsyncFnMut(i32, String) -> Result<(Vec<T>, String), Failure>,
    mut hand_on: impl FnMut(Vec<T>) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    let mut left = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut token = String::new();
    loop {
        let size = left.and_then(|left| u32::try_from(left).ok()).unwrap_or(PAGE_SIZE_MAX).min(PAGE_SIZE_MAX);
        let (mut page, next) = fetch(size.cast_signed(), token.clone()).await?;
        let mut more = !next.is_empty();
        if let Some(left) = &mut left {
            more |= page.len() > *left;
            page.truncate(*left);
            *left -= page.len();
        }
        hand_on(page)?;
        if next.is_empty() || left == Some(0) {
            return Ok(more);
        }
        if next == token {
            return Err(Failure::local("the server's pages lead nowhere").hint("tell the operators"));
        }
        token = next;
    }
}

/// The same, of what is few enough to be kept.
///
/// # Errors
///
/// Like [`each_page`].
pub async fn pages<T>(
    limit: u32,
    fetch: impl AsyncFnMut(i32, String) -> Result<(Vec<T>, String), Failure>,
) -> Result<(Vec<T>, bool), Failure> {
    let mut items = Vec::new();
    let keep = |page| {
        items.extend(page);
        Ok(())
    };
    let more = each_page(Some(limit), fetch, keep).await?;
    Ok((items, more))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pages_are_followed_up_to_the_limit() {
        for (limit, expected, more) in [(3, 3, true), (4, 4, true), (5, 5, false), (50, 5, false)] {
            let mut sizes = Vec::new();
            let (items, left) = pages(limit, async |size: i32, token: String| {
                sizes.push(size);
                let start: usize = token.parse().unwrap_or(0);
                let end = 5.min(start + 2);
                let next = if end < 5 { end.to_string() } else { String::new() };
                Ok(((start..end).collect(), next))
            })
            .await
            .unwrap();
            assert_eq!((items.len(), left), (expected, more), "{limit}");
            assert!(sizes.iter().all(|size| (1..=200).contains(size)), "{sizes:?}");
        }
    }

    #[tokio::test]
    async fn empty_pages_that_get_further_are_followed() {
        let (items, more) = pages(10, async |_, token: String| {
            let page = token.parse().unwrap_or(0);
            let found = if page == 3 { vec!["found"] } else { vec![] };
            Ok((found, if page == 5 { String::new() } else { (page + 1).to_string() }))
        })
        .await
        .unwrap();
        assert_eq!((items, more), (vec!["found"], false));
    }

    #[tokio::test]
    async fn pages_that_lead_nowhere_end() {
        let endless = pages(10, async |_, _| Ok((Vec::<u8>::new(), "again".into()))).await;
        assert!(endless.is_err());
    }

    #[tokio::test]
    async fn without_a_limit_all_is_handed_on_page_by_page() {
        let mut pages = Vec::new();
        let fetch = async |size: i32, token: String| {
            assert_eq!(size, 200);
            let next = if token.is_empty() { "more".to_owned() } else { String::new() };
            Ok((vec![token], next))
        };
        let more = each_page(None, fetch, |page| {
            pages.push(page);
            Ok(())
        });
        assert!(!more.await.unwrap());
        assert_eq!(pages, [[""], ["more"]]);
    }
}
