//! The tests that `object_store` has its own stores pass.

use crate::{HOUR, Rig};
use object_store::{ObjectStore, integration, local::LocalFileSystem, memory::InMemory};
use object_store_disk_cache::Freshness;
use std::sync::Arc;
use tempfile::tempdir;

const ALL: [Freshness; 3] = [Freshness::EveryTime, Freshness::MaxAge(HOUR), Freshness::Immutable];

async fn passes(inner: Arc<dyn ObjectStore>, freshness: Freshness, updates: bool) {
    let rig = Rig::before(inner, freshness).await;
    let store = &rig.store;
    integration::put_get_delete_list(store).await;
    integration::list_with_offset_exclusivity(store).await;
    integration::get_opts(store).await;
    integration::list_uses_directories_correctly(store).await;
    integration::list_with_delimiter(store).await;
    integration::rename_and_copy(store).await;
    integration::copy_if_not_exists(store).await;
    integration::copy_rename_nonexistent_object(store).await;
    integration::stream_get(store).await;
    integration::put_opts(store, updates).await;
    integration::put_get_attributes(store).await;
    let missing = integration::get_nonexistent_object(store, None).await;
    assert!(matches!(missing, Err(object_store::Error::NotFound { .. })), "{missing:?}");
    assert!(rig.store.cache().stats().inserts > 0, "nothing was kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_before_a_store_in_memory_passes_the_suite_with_each_freshness() {
    for freshness in ALL {
        passes(Arc::new(InMemory::new()), freshness, true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_before_a_directory_passes_the_suite_with_each_freshness() {
    for freshness in ALL {
        let root = tempdir().expect("a directory");
        let inner = LocalFileSystem::new_with_prefix(root.path()).expect("it is there");
        passes(Arc::new(inner), freshness, false).await;
    }
}
