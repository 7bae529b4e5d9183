// SPDX-License-Identifier: GPL-2.0
/*
 * standin_pci: PCI devices that are not there.
 *
 * Each bus of a device is a root bus of its own, as those of sockets are, and its configuration
 * space is memory of this module. What reads that is told of a device; what drives one finds that
 * it has no registers (no BARs), interrupts or DMA.
 *
 *   insmod standin_pci.ko devices=0000:3b:00.0=10de:2335:030200:10de:18be:a1,...
 *
 * A device is ADDRESS=VENDOR:DEVICE:CLASS:SUBSYSTEM_VENDOR:SUBSYSTEM_DEVICE:REVISION, all of it
 * hexadecimal; the class has its programming interface, six digits.
 */
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>

#define DEVICES_MAX 64
/* Where the one capability lies: right behind what every device has. */
#define EXPRESS 0x40

struct device_shown {
	unsigned int domain, bus, devfn;
	u8 space[PCI_CFG_SPACE_EXP_SIZE];
};

struct bus_shown {
	struct pci_sysdata sysdata;
	struct resource number;
	struct pci_bus *bus;
};

static char *devices[DEVICES_MAX];
static unsigned int devices_count;
module_param_array(devices, charp, &devices_count, 0444);
MODULE_PARM_DESC(devices, "ADDRESS=VENDOR:DEVICE:CLASS:SUBSYSTEM_VENDOR:SUBSYSTEM_DEVICE:REVISION");

static struct device_shown *shown;
static struct bus_shown *buses;
static unsigned int buses_count;

static struct device_shown *find(unsigned int domain, unsigned int bus, unsigned int devfn)
{
	for (unsigned int i = 0; i < devices_count; i++)
		if (shown[i].domain == domain && shown[i].bus == bus && shown[i].devfn == devfn)
			return &shown[i];
	return NULL;
}

static u8 *span(struct pci_bus *bus, unsigned int devfn, int where, int size)
{
	struct device_shown *device = find(pci_domain_nr(bus), bus->number, devfn);

	if (!device || where < 0 || where + size > (int)sizeof(device->space))
		return NULL;
	return device->space + where;
}

static void store(u8 *bytes, int size, u32 value)
{
	while (size--) {
		*bytes++ = value;
		value >>= 8;
	}
}

static int standin_read(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 *value)
{
	u8 *bytes = span(bus, devfn, where, size);

	if (!bytes) {
		PCI_SET_ERROR_RESPONSE(value);
		return PCIBIOS_DEVICE_NOT_FOUND;
	}
	*value = 0;
	while (size--)
		*value = *value << 8 | bytes[size];
	return PCIBIOS_SUCCESSFUL;
}

/* What a device without registers keeps of what is written to it; all else it ignores. */
static bool is_kept(int where)
{
	switch (where) {
	case PCI_COMMAND:
	case PCI_COMMAND + 1:
	case PCI_CACHE_LINE_SIZE:
	case PCI_LATENCY_TIMER:
	case PCI_INTERRUPT_LINE:
		return true;
	}
	return false;
}

static int standin_write(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 value)
{
	u8 *bytes = span(bus, devfn, where, size);

	if (!bytes)
		return PCIBIOS_DEVICE_NOT_FOUND;
	for (int i = 0; i < size; i++)
		if (is_kept(where + i))
			bytes[i] = value >> (8 * i);
	return PCIBIOS_SUCCESSFUL;
}

static struct pci_ops standin_ops = { .read = standin_read, .write = standin_write };

static int describe(struct device_shown *device, const char *words)
{
	unsigned int slot, function, vendor, id, class, subvendor, subdevice, revision;
	u8 *space = device->space;
	char end;

	if (sscanf(words, "%4x:%2x:%2x.%1x=%4x:%4x:%6x:%4x:%4x:%2x%c", &device->domain,
		   &device->bus, &slot, &function, &vendor, &id, &class, &subvendor, &subdevice,
		   &revision, &end) != 10 || slot > 0x1f || function > 7) {
		pr_err("standin_pci: %s is no device\n", words);
		return -EINVAL;
	}
	device->devfn = PCI_DEVFN(slot, function);
	store(space + PCI_VENDOR_ID, 2, vendor);
	store(space + PCI_DEVICE_ID, 2, id);
	store(space + PCI_STATUS, 2, PCI_STATUS_CAP_LIST);
	store(space + PCI_CLASS_REVISION, 4, class << 8 | revision);
	/* Function 0 says whether there may be others. */
	store(space + PCI_HEADER_TYPE, 1, PCI_HEADER_TYPE_NORMAL | PCI_HEADER_TYPE_MFD);
	store(space + PCI_SUBSYSTEM_VENDOR_ID, 2, subvendor);
	store(space + PCI_SUBSYSTEM_ID, 2, subdevice);
	store(space + PCI_CAPABILITY_LIST, 1, EXPRESS);
	store(space + EXPRESS + PCI_CAP_LIST_ID, 1, PCI_CAP_ID_EXP);
	store(space + EXPRESS + PCI_EXP_FLAGS, 2, 2 | PCI_EXP_TYPE_RC_END << 4);
	return 0;
}

static int show_bus(unsigned int domain, unsigned int number)
{
	struct bus_shown *bus = &buses[buses_count];
	LIST_HEAD(resources);

	bus->sysdata.domain = domain;
	bus->sysdata.node = NUMA_NO_NODE;
	bus->number.name = KBUILD_MODNAME;
	bus->number.flags = IORESOURCE_BUS;
	bus->number.start = number;
	bus->number.end = number;
	pci_add_resource(&resources, &bus->number);
	pci_lock_rescan_remove();
	bus->bus = pci_scan_root_bus(NULL, number, &standin_ops, &bus->sysdata, &resources);
	if (bus->bus) {
		buses_count++;
		pci_bus_add_devices(bus->bus);
	}
	pci_unlock_rescan_remove();
	if (bus->bus)
		return 0;
	pci_free_resource_list(&resources);
	return -EBUSY;
}

static void take_away(void)
{
	while (buses_count) {
		struct pci_bus *bus = buses[--buses_count].bus;

		pci_lock_rescan_remove();
		pci_stop_root_bus(bus);
		pci_remove_root_bus(bus);
		pci_unlock_rescan_remove();
	}
	kfree(buses);
	kvfree(shown);
}

/* A device that comes second on a bus finds that shown; one of the machine is left alone. */
static int show(struct device_shown *device)
{
	struct pci_bus *there = pci_find_bus(device->domain, device->bus);
	int error;

	if (there && there->ops == &standin_ops)
		return 0;
	error = there ? -EBUSY : show_bus(device->domain, device->bus);
	if (error)
		pr_err("standin_pci: bus %04x:%02x is taken\n", device->domain, device->bus);
	return error;
}

static int __init standin_pci_init(void)
{
	int error = 0;

	shown = kvcalloc(devices_count, sizeof(*shown), GFP_KERNEL);
	buses = kcalloc(devices_count, sizeof(*buses), GFP_KERNEL);
	if (!shown || !buses)
		error = -ENOMEM;
	for (unsigned int i = 0; i < devices_count && !error; i++)
		error = describe(&shown[i], devices[i]);
	for (unsigned int i = 0; i < devices_count && !error; i++)
		error = show(&shown[i]);
	if (error)
		take_away();
	return error;
}

static void __exit standin_pci_exit(void)
{
	take_away();
}

module_init(standin_pci_init);
module_exit(standin_pci_exit);
MODULE_DESCRIPTION("PCI devices that are not there");
MODULE_LICENSE("GPL");
