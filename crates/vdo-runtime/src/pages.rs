//! Lists that are read page by page, of which no more than a page is held whole.

use std::fmt::Debug;

use kube::Api;
use kube::api::ListParams;
use serde::de::DeserializeOwned;

use crate::client::Cluster;
use crate::fault::KubeFault;

/// How often a list is begun again because its version is no longer kept.
const BEGINNINGS: usize = 3;

impl Cluster {
    /// What is kept of each object of a list; `params` has the size of a page. Before each page, `at` hears how many
    /// objects were read.
    pub async fn read_pages<K, R>(
        &self,
        api: &Api<K>,
        mut params: ListParams,
        at: impl Fn(usize),
        keep: impl Fn(&K) -> Option<R>,
    ) -> Result<Vec<R>, KubeFault>
    where
        K: Clone + Debug + DeserializeOwned,
    {
        let (mut kept, mut seen, mut begun) = (Vec::new(), 0, 1);
        loop {
            at(seen);
            let page = match self.read(api.list(&params)).await {
                Err(KubeFault::Gone) if begun < BEGINNINGS => {
                    (kept, seen, begun) = (Vec::new(), 0, begun + 1);
                    params.continue_token = None;
                    continue;
                }
                page => page?,
            };
            seen += page.items.len();
            kept.extend(page.items.iter().filter_map(&keep));
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                return Ok(kept);
            }
        }
    }
}
