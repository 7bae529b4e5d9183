// SPDX-License-Identifier: GPL-2.0
// A module of one file that compiles in a second and has the driver's name: for what is said of
// modules on disk and of DKMS, never for loading. modinfo of the driver: NVIDIA/open-gpu-kernel-modules,
// kernel-open/nvidia/nv.c, MODULE_LICENSE and MODULE_VERSION.
#include <linux/module.h>

MODULE_LICENSE("Dual MIT/GPL");
MODULE_VERSION("535.161.08");
