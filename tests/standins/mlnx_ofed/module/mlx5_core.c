// SPDX-License-Identifier: GPL-2.0
// mlx5_core and mlx5_ib, which do nothing but depend on mlx_compat.
#include <linux/module.h>

int mlx_compat_there(void);

static int __init start(void)
{
	return mlx_compat_there();
}
module_init(start);

MODULE_LICENSE("GPL");
MODULE_VERSION("@OFED@");
