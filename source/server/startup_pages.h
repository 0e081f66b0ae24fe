// Start-up reads much of the program once: descriptors of the API, parsers, relocations. This lets those pages of the binary go, so
// that what the process holds at rest is what its work needs; whatever is needed again comes back from the page cache.
// Thread: any; call it once, when the configuration is loaded.
#pragma once

namespace outrider::server {

void releaseStartupPages();

}  // namespace outrider::server
