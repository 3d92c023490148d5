# One subnet. From outside only ssh comes in; within it, workers reach the head.

resource "oci_core_vcn" "this" {
  compartment_id = var.compartment_ocid
  display_name   = var.name
  dns_label      = var.name
  cidr_blocks    = ["10.70.0.0/16"]
}

resource "oci_core_internet_gateway" "this" {
  compartment_id = var.compartment_ocid
  vcn_id         = oci_core_vcn.this.id
  display_name   = var.name
}

resource "oci_core_route_table" "this" {
  compartment_id = var.compartment_ocid
  vcn_id         = oci_core_vcn.this.id
  display_name   = var.name

  route_rules {
    destination       = "0.0.0.0/0"
    network_entity_id = oci_core_internet_gateway.this.id
  }
}

resource "oci_core_security_list" "this" {
  compartment_id = var.compartment_ocid
  vcn_id         = oci_core_vcn.this.id
  display_name   = var.name

  egress_security_rules {
    protocol    = "all"
    destination = "0.0.0.0/0"
  }

  ingress_security_rules {
    protocol = "6" # TCP
    source   = var.ssh_from
    tcp_options {
      min = 22
      max = 22
    }
  }

  # gRPC and HTTP of the server
  ingress_security_rules {
    protocol = "6"
    source   = oci_core_vcn.this.cidr_blocks[0]
    tcp_options {
      min = 7070
      max = 7071
    }
  }
}

resource "oci_core_subnet" "workers" {
  compartment_id    = var.compartment_ocid
  vcn_id            = oci_core_vcn.this.id
  display_name      = "${var.name}-${local.subnet}"
  dns_label         = local.subnet
  cidr_block        = "10.70.0.0/20"
  route_table_id    = oci_core_route_table.this.id
  security_list_ids = [oci_core_security_list.this.id]
}
