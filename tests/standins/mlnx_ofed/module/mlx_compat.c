// SPDX-License-Identifier: GPL-2.0
// Modules of MLNX_OFED are known by their dependence on this one.
#include <linux/module.h>

int mlx_compat_there(void)
{
	return 0;
}
EXPORT_SYMBOL(mlx_compat_there);

MODULE_LICENSE("GPL");
MODULE_VERSION("@OFED@");
