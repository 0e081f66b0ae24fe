// The file is found through the -I of the target. Read-only, page aligned, no code.
    .section .rodata.outrider_api_descriptors, "a", @progbits
    .balign 16
    .global outrider_api_descriptors_begin
    .hidden outrider_api_descriptors_begin
outrider_api_descriptors_begin:
    .incbin "all.fds"
    .global outrider_api_descriptors_end
    .hidden outrider_api_descriptors_end
outrider_api_descriptors_end:
    .byte 0
    .section .note.GNU-stack, "", @progbits
