// SPDX-License-Identifier: GPL-2.0
#include <linux/module.h>

int mlx_compat_there(void);
int ib_register_client(void);

int uverbs_get_flags32(void)
{
	return mlx_compat_there();
}
EXPORT_SYMBOL(uverbs_get_flags32);

static int __init start(void)
{
	return ib_register_client();
}
module_init(start);

MODULE_LICENSE("GPL");
MODULE_VERSION("@OFED@");
