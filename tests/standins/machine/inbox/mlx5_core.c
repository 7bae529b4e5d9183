// SPDX-License-Identifier: GPL-2.0
#include <linux/module.h>

int mlx5_cmd_exec(void)
{
	return 0;
}
EXPORT_SYMBOL(mlx5_cmd_exec);

MODULE_LICENSE("Dual BSD/GPL");
MODULE_INFO(intree, "Y");
