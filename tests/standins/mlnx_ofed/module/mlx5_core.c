// SPDX-License-Identifier: GPL-2.0
#include <linux/module.h>

int mlx_compat_there(void);

int mlx5_cmd_exec(void)
{
	return mlx_compat_there();
}
EXPORT_SYMBOL(mlx5_cmd_exec);

MODULE_LICENSE("GPL");
MODULE_VERSION("@OFED@");
