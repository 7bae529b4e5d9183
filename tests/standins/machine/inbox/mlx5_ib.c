// SPDX-License-Identifier: GPL-2.0
#include <linux/module.h>

int ib_register_device(void);
int mlx5_cmd_exec(void);
int uverbs_get_flags32(void);

static int __init start(void)
{
	return mlx5_cmd_exec() + uverbs_get_flags32() + ib_register_device();
}
module_init(start);

MODULE_LICENSE("Dual BSD/GPL");
MODULE_INFO(intree, "Y");
