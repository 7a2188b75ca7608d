/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The image.  Linked at IMAGE_START, loaded at any multiple of 2 MiB below 4 GiB (else at 2 MiB).
 * File and memory have the same layout, so that a multiboot1 loader can take it as it is.
 */
OUTPUT_FORMAT(elf64-x86-64)
OUTPUT_ARCH(i386:x86-64)
ENTRY(entry_physical)

VIRT = 0xffff820000000000;
LOAD = 0x200000;

PHDRS
{
    image PT_LOAD FLAGS(7);
}

SECTIONS
{
    . = VIRT;
    image_start = .;

    .text : AT(ADDR(.text) - VIRT + LOAD) {
        *(.multiboot)
        *(.boot.text)
        *(.text .text.*)
        *(.fixup)
        . = ALIGN(4096);
        text_end = .;
    } :image

    .rodata : AT(ADDR(.rodata) - VIRT + LOAD) {
        *(.rodata .rodata.*)
        . = ALIGN(16);
        extable_start = .;
        *(.extable)
        extable_end = .;
        smap_patch_start = .;
        *(.smap_patch)
        smap_patch_end = .;
        . = ALIGN(4096);
        rodata_end = .;
    } :image

    .data : AT(ADDR(.data) - VIRT + LOAD) {
        *(.data .data.* .got .got.* .data.rel.ro .data.rel.ro.*)
        *(.tdata .tdata.* .tbss .tbss.*)
        . = ALIGN(8);
        init_array_start = .;
        KEEP(*(.init_array .init_array.*))
        init_array_end = .;
        . = ALIGN(4096);
        data_end = .;
    } :image

    .init : AT(ADDR(.init) - VIRT + LOAD) {
        init_start = .;
        *(.init.text)
        *(.init.data)
        . = ALIGN(4096);
        init_end = .;
    } :image

    .bss (NOLOAD) : AT(ADDR(.bss) - VIRT + LOAD) {
        bss_start = .;
        . = ALIGN(0x8000);
        *(.bss.stack)
        *(.bss.page_aligned)
        *(.bss .bss.* COMMON)
        . = ALIGN(4096);
        bss_end = .;
    } :image

    image_end = .;

    /* Offsets that boot.S needs before paging is on. */
    off_boot_gdt = boot_gdt - VIRT;
    off_boot_gdtr = boot_gdtr - VIRT;
    off_boot_l2 = boot_l2 - VIRT;
    off_boot_l2_image = boot_l2_image - VIRT;
    off_boot_l3 = boot_l3 - VIRT;
    off_boot_l3_image = boot_l3_image - VIRT;
    off_boot_l4 = boot_l4 - VIRT;
    off_boot_stack_top = boot_stack_top - VIRT;
    off_bss_end = bss_end - VIRT;
    off_bss_start = bss_start - VIRT;
    off_entry_mb1 = entry_mb1 - VIRT;
    off_entry_physical = entry_physical - VIRT;
    off_init_end = init_end - VIRT;
    off_long_mode = long_mode - VIRT;
    off_mb1_header = mb1_header - VIRT;
    off_no_long_text = no_long_text - VIRT;

    /DISCARD/ : {
        *(.comment) *(.note .note.*) *(.eh_frame .eh_frame_hdr)
        *(.gnu.hash .dynsym .dynstr .dynamic .interp .hash)
    }
}
