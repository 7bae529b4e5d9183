// SPDX-License-Identifier: GPL-2.0
// Needs all others, as the vendor's.
#include <linux/module.h>

int mlx_compat_there(void);
int ib_register_device(void);
int mlx5_cmd_exec(void);
int uverbs_get_flags32(void);

static int __init start(void)
{
	return mlx_compat_there() + mlx5_cmd_exec() + uverbs_get_flags32() + ib_register_device();
}
module_init(start);

MODULE_LICENSE("GPL");
MODULE_VERSION("@OFED@");
