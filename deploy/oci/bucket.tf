# The bucket through which the head gives workers its certificate and their token, and the roles that allow it. It has
# room for checkpoints too: ph.Study(..., checkpoints="s3://...") needs keys of your own, docs/clusters.md says which.

data "oci_objectstorage_namespace" "this" {
  compartment_id = var.tenancy_ocid
}

resource "oci_objectstorage_bucket" "shared" {
  compartment_id = var.compartment_ocid
  namespace      = data.oci_objectstorage_namespace.this.namespace
  name           = var.name
  access_type    = "NoPublicAccess"
}

resource "oci_identity_dynamic_group" "head" {
  compartment_id = var.tenancy_ocid
  name           = "${var.name}-head"
  description    = "The head of ${var.name}."
  matching_rule  = "ALL {instance.id = '${oci_core_instance.head.id}'}"
}

resource "oci_identity_dynamic_group" "workers" {
  compartment_id = var.tenancy_ocid
  name           = "${var.name}-workers"
  description    = "The machines of ${var.name}."
  matching_rule  = "ALL {instance.compartment.id = '${var.compartment_ocid}'}"
}

resource "oci_identity_policy" "bucket" {
  compartment_id = var.compartment_ocid
  name           = "${var.name}-bucket"
  description    = "The head writes into the bucket of ${var.name}, and its workers read."
  statements = [
    "Allow dynamic-group ${oci_identity_dynamic_group.head.name} to manage objects in compartment id ${var.compartment_ocid} where target.bucket.name = '${oci_objectstorage_bucket.shared.name}'",
    "Allow dynamic-group ${oci_identity_dynamic_group.workers.name} to read objects in compartment id ${var.compartment_ocid} where target.bucket.name = '${oci_objectstorage_bucket.shared.name}'",
  ]
}
