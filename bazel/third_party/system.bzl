"""Libraries of the system: from archives in the release (-c opt), so that it needs only glibc; shared otherwise, so that tests link fast."""

def system_library(name, libs, needs = [], shared_libs = None, **kwargs):
    """`libs` are the library's own names; `needs` those that only an archive asks for."""
    archives = ["-l:lib%s.a" % lib for lib in libs + needs]
    shared = ["-l" + lib for lib in (libs if shared_libs == None else shared_libs)]
    native.cc_library(
        name = name,
        linkopts = select({
            # One word, so that no step between here and the linker can reorder a part of it.
            "@outrider//bazel:opt": ["-Wl,--start-group," + ",".join(archives) + ",--end-group"],
            "//conditions:default": shared,
        }),
        **kwargs
    )

ABSL = ["absl_" + part for part in """bad_optional_access bad_variant_access base city civil_time cord cord_internal cordz_functions cordz_handle cordz_info
debugging_internal demangle_internal examine_stack exponential_biased failure_signal_handler graphcycles_internal hash
hashtablez_sampler int128 log_severity low_level_hash malloc_internal random_distributions random_internal_platform
random_internal_pool_urbg random_internal_randen random_internal_randen_hwaes random_internal_randen_hwaes_impl
random_internal_randen_slow random_internal_seed_material random_seed_gen_exception random_seed_sequences raw_hash_set
raw_logging_internal spinlock_wait stacktrace status statusor str_format_internal strerror strings strings_internal
symbolize synchronization throw_delegate time time_zone""".replace("\n", " ").split(" ")]
