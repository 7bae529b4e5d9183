// SPDX-License-Identifier: GPL-2.0
// The distribution's own ib_core, which takes no peer memory clients.
#include <linux/module.h>

int ib_register_client(void)
{
	return 0;
}
EXPORT_SYMBOL(ib_register_client);

int ib_register_device(void)
{
	return 0;
}
EXPORT_SYMBOL(ib_register_device);

MODULE_LICENSE("Dual BSD/GPL");
MODULE_INFO(intree, "Y");
