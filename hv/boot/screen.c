/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "boot/screen.h"
#include "base/string.h"

bool
screen_describe(const struct boot_info *info, struct dom0_vga_console_info *console)
{
    memset(console, 0, sizeof(*console));
    if (!info->has_framebuffer || info->framebuffer.type == 2) {
        if (info->efi)
            return false; /* no framebuffer tag and no VGA text mode */
        console->video_type = XEN_VGATYPE_TEXT_MODE_3;
        console->u.text_mode_3.font_height = 16;
        console->u.text_mode_3.rows = 25;
        console->u.text_mode_3.columns = 80;
        return true;
    }
    if (info->framebuffer.type != 1)
        return false; /* indexed colours: Linux has no driver for them here */
    console->video_type = info->efi ? XEN_VGATYPE_EFI_LFB : XEN_VGATYPE_VESA_LFB;
    console->u.vesa_lfb.width = info->framebuffer.width;
    console->u.vesa_lfb.height = info->framebuffer.height;
    console->u.vesa_lfb.bytes_per_line = info->framebuffer.pitch;
    console->u.vesa_lfb.bits_per_pixel = info->framebuffer.bpp;
    console->u.vesa_lfb.lfb_base = info->framebuffer.address;
    console->u.vesa_lfb.ext_lfb_base = info->framebuffer.address >> 32;
    /* In units of 64 KiB, as VESA counts it. */
    console->u.vesa_lfb.lfb_size = ((u64)info->framebuffer.pitch * info->framebuffer.height + 0xffff) >> 16;
    console->u.vesa_lfb.red_pos = info->framebuffer.red_position;
    console->u.vesa_lfb.red_size = info->framebuffer.red_size;
    console->u.vesa_lfb.green_pos = info->framebuffer.green_position;
    console->u.vesa_lfb.green_size = info->framebuffer.green_size;
    console->u.vesa_lfb.blue_pos = info->framebuffer.blue_position;
    console->u.vesa_lfb.blue_size = info->framebuffer.blue_size;
    return true;
}
